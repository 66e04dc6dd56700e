"""Missing packages: one sentence instead of a traceback."""

from importlib.util import find_spec

from nanogfl.errors import UserError, missing_extra


def require(extra: str, *packages: str) -> None:
    """Raises UserError with the pip command if a package of the extra is missing."""
    for package in packages:
        if find_spec(package) is None:
            raise missing_extra(package, extra)


def opencv_problem() -> UserError | None:
    """The error if OpenCV cannot be imported, else None. Its usual package needs desktop libraries."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        return UserError(
            f"OpenCV cannot be loaded ({error}): install what it needs (Debian: apt-get install libgl1 libglib2.0-0),"
            " or take OpenCV without windows (pip uninstall opencv-python, then pip install opencv-python-headless)"
        )
    return None
