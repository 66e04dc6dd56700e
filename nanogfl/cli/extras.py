"""Whether a package can be used: one sentence instead of a traceback."""

from importlib.util import find_spec

from nanogfl.errors import UserError, missing_extra


def require(extra: str, *packages: str) -> None:
    """Raises UserError that names the pip command for the first package that is missing."""
    for package in packages:
        if find_spec(package) is None:
            raise missing_extra(package, extra)


def opencv_problem() -> UserError | None:
    """Why OpenCV cannot be imported, and the ways out. Its usual package needs libraries of a desktop."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        return UserError(
            f"OpenCV cannot be loaded ({error}): install what it needs (Debian: apt-get install libgl1 libglib2.0-0),"
            " or take OpenCV without windows (pip uninstall opencv-python, then pip install opencv-python-headless)"
        )
    return None
