"""A window that shows pictures on a display."""

import os
import subprocess
import sys
from contextlib import suppress

import cv2

from nanogfl.draw.boxes import draw_text
from nanogfl_deploy.sources.capture import Frame

_QUIT_KEYS = frozenset({ord("q"), ord("Q"), 27})


def window_problem() -> str | None:
    """Why no window can be opened, or None. Tried in a second process, since OpenCV aborts without a display."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    attempt = "import cv2; cv2.namedWindow('nanogfl'); cv2.destroyAllWindows()"
    try:
        done = subprocess.run([sys.executable, "-c", attempt], capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return "OpenCV did not open a window on this display within 20 s"
    return None if done.returncode == 0 else "OpenCV cannot open a window on this display"


class Window:
    """A window of pictures; q, Esc or closing it ends."""

    def __init__(self, title: str) -> None:
        self._title = title
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        self._sized = False

    def show(self, picture: Frame, status: str, wait: bool) -> bool:
        """Shows a picture uint8 (h, w, 3) BGR with `status` in its corner; `wait`: until a key is pressed.

        Returns False if the user ended it.
        """
        picture = picture.copy()
        draw_text(picture, status)
        if not self._sized:
            cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
            self._sized = True
        cv2.imshow(self._title, picture)
        while True:  # in short waits: a window that the user closes delivers no key
            key = cv2.waitKey(50 if wait else 1)
            if key & 0xFF in _QUIT_KEYS and key != -1:
                return False
            if cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
                return False
            if key != -1 or not wait:
                return True

    def close(self) -> None:
        with suppress(cv2.error):  # the user may have closed it
            cv2.destroyWindow(self._title)


def status_line(frames_per_second: float, model_ms: float, dropped: int) -> str:
    """The text in the window's corner."""
    return f"{frames_per_second:.1f} FPS   model {model_ms:.1f} ms   dropped {dropped}"
