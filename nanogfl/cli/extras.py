"""An OpenCV that cannot be loaded: one sentence instead of a traceback."""

from nanogfl.errors import UserError


def opencv_problem() -> UserError | None:
    """Why OpenCV cannot be imported, and both ways out; None where it can. Its usual package needs libGL and glib."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        return UserError(
            f"OpenCV cannot be loaded ({error}): install what it needs (Debian: apt-get install libgl1 libglib2.0-0),"
            " or take OpenCV without windows (pip uninstall opencv-python, then pip install opencv-python-headless)"
        )
    return None
