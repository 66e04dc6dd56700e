"""The base class of all sources of frames, and how OpenCV opens them."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
"""(h, w, 3) BGR"""

_SLOWEST, _FASTEST = 0.01, 1000.0
"""plausible frames per second in a header or from a driver"""
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# FFmpeg would also play lists of other files (ffconcat, HLS, DASH, SDP): a file called .mp4 could name any of yours.
_CONTAINERS = (
    *("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "mpegvideo", "m4v", "h261", "h263", "h264"),
    *("hevc", "vvc", "av1", "obu", "ivf", "vc1", "flv", "live_flv", "asf", "ogg", "mjpeg", "mpjpeg", "gif", "apng"),
    *("dv", "rm", "nut", "wtv", "swf", "y4m", "yuv4mpegpipe", "jpeg_pipe", "png_pipe", "webp_pipe", "bmp_pipe"),
    "mxf",
)
_FILE_OPTIONS = f"format_whitelist;{','.join(_CONTAINERS)}|protocol_whitelist;file"


class Capture(Protocol):
    """The used part of cv2.VideoCapture, so that a test can hand in its own."""

    def read(self) -> tuple[bool, Any]: ...
    def get(self, prop: int, /) -> float: ...
    def release(self) -> None: ...


class Source:
    """Yields (name, frame uint8 (h, w, 3) BGR); use it in a `with`. The attributes tell which frames are missing."""

    def __init__(self, name: str, path: Path | None, frame_rate: float | None, live: bool = False) -> None:
        self.name = name
        """for people and for the name of a result"""
        self.path = path
        """the file or folder; None for a camera"""
        self.frame_rate = frame_rate
        """frames per second; None where there is none or it is not known"""
        self.live = live
        """whether frames come in real time, so that only the newest counts"""
        self.seconds: float | None = None
        """time of the newest frame since the first; None for pictures and where a video does not say"""
        self.dropped = 0
        """frames that a newer one replaced before they were read"""
        self.skipped: list[str] = []
        """one sentence for each thing that could not be read and was left out"""
        self.noted: dict[str, tuple[int, str]] = {}
        """parts of images that are not read, by kind: how many images, and the first one's sentence"""
        self.problem: str | None = None
        """why it ended before it should have"""
        self.stopped = False
        """set from outside: no more frames are wanted"""

    def __iter__(self) -> Iterator[tuple[str, Frame]]:
        raise NotImplementedError

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        """Releases the device or file."""

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_capture(what: str | int, *, is_file: bool = False, api: int = cv2.CAP_ANY) -> cv2.VideoCapture | None:
    """None where OpenCV cannot open it. `is_file`: only this file is read, whatever it refers to."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: it prints past OpenCV's log; read at its first use
    own_choice = _OPTIONS in os.environ
    if is_file and not own_choice:
        os.environ[_OPTIONS] = _FILE_OPTIONS
    try:
        with quiet_opencv():
            capture = cv2.VideoCapture(what, api)
            return capture if capture.isOpened() else None
    except cv2.error:
        return None
    finally:
        if is_file and not own_choice:
            os.environ.pop(_OPTIONS, None)


def believable_rate(rate: float) -> float | None:
    """Frames per second; None for 0, -1 or nonsense, which drivers and headers report when they do not know."""
    return rate if math.isfinite(rate) and _SLOWEST <= rate <= _FASTEST else None


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silences OpenCV's lines on stderr: a failure is reported once, by our error."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
