"""Where frames come from: an image, a folder of images, a video, a camera. All iterate over (name, frame)."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.errors import UserError
from nanogfl.contract.frames import IMAGE_SUFFIXES, read_picture
from nanogfl.contract.read_file import is_file, is_folder

Frame = NDArray[np.uint8]
"""(h, w, 3) BGR"""


class Capture(Protocol):
    """What is used of cv2.VideoCapture, so that a test can hand in its own."""

    def read(self) -> tuple[bool, Any]: ...
    def get(self, prop: int, /) -> float: ...
    def release(self) -> None: ...


class Source:
    """Iterate inside a `with`. The attributes say what became of the frames that did not come."""

    def __init__(self, name: str, path: Path | None, frame_rate: float | None, live: bool = False) -> None:
        self.name = name
        """for people and for the name of a result"""
        self.path = path
        """the file or folder; None for a camera"""
        self.frame_rate = frame_rate
        """frames a second, None where there is none or it is not known"""
        self.live = live
        """whether frames come by the clock and the newest is what counts"""
        self.dropped = 0
        """frames that a newer one replaced before they were asked for"""
        self.skipped: list[str] = []
        """why each unreadable file was left out"""
        self.noted: dict[str, tuple[int, str]] = {}
        """what of images is not read, by its kind: how many there are, and the first one's sentence"""
        self.problem: str | None = None
        """why a live source ended by itself"""

    def __iter__(self) -> Iterator[tuple[str, Frame]]:
        raise NotImplementedError

    def close(self) -> None:
        """Releases the device or file."""

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Pictures(Source):
    """One image file, or the images of a folder sorted by name; unreadable ones are skipped and listed, or fatal."""

    def __init__(self, path: Path, strict: bool = False) -> None:
        super().__init__(path.resolve().name, path, None)
        self.strict = strict or path.is_file()
        self.files = [path]
        if path.is_dir():
            self.files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            if not self.files:
                raise UserError(
                    f"folder {path} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}): name a folder that holds some"
                )

    def __iter__(self) -> Iterator[tuple[str, Frame]]:
        for file in self.files:
            try:
                picture = read_picture(file)
            except UserError as error:
                if self.strict:
                    raise
                self.skipped.append(str(error))
                continue
            for note in picture.notes:
                kind = note.partition(":")[0]
                count, first = self.noted.get(kind, (0, f"{file}: {note}"))
                self.noted[kind] = count + 1, first
            yield file.name, picture.frame
        if len(self.skipped) == len(self.files):
            raise UserError(
                f"none of the {len(self.files)} images of {self.path} can be read, first: {self.skipped[0]}"
            )


class Video(Source):
    """Every frame of a video file, in order; named file#000000 from 0."""

    def __init__(self, path: Path, capture: Capture | None = None) -> None:
        self._capture: Capture = capture or _open_capture(str(path))
        super().__init__(path.name, path, _frame_rate(self._capture))
        with _quiet_opencv():
            self._first: Frame | None = self._capture.read()[1]
        if self._first is None:
            self._capture.release()
            raise UserError(f"{path} is no video that OpenCV can read, or has no frames: check the file")

    def __iter__(self) -> Iterator[tuple[str, Frame]]:
        frame, self._first = self._first, None
        index = 0
        while frame is not None:
            yield f"{self.name}#{index:06d}", frame
            good, following = self._capture.read()
            frame = following if good else None
            index += 1

    def close(self) -> None:
        self._capture.release()


class Camera(Source):
    """A reader thread keeps the newest frame only, so that what is shown is never old; the others are counted."""

    def __init__(self, name: str, capture: Capture, patience: float = 5.0) -> None:
        """Waits for a first frame: a camera that opens but delivers none is a UserError. `patience` in seconds."""
        super().__init__(name, None, _frame_rate(capture), live=True)
        self._capture = capture
        self._patience = patience
        self._newest: Frame | None = None
        self._ended = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._read, name=f"reader of {name}", daemon=True)
        self._thread.start()
        with self._change:
            self._change.wait_for(lambda: self._newest is not None or self._ended, patience)
            delivered = self._newest is not None
        if not delivered:
            self.close()
            raise UserError(
                f"no {name}: it opened but delivered no frame in {patience:g} s; is another program using it?"
            )

    def __iter__(self) -> Iterator[tuple[str, Frame]]:
        index = 0
        while True:
            with self._change:
                self._change.wait_for(lambda: self._newest is not None or self._ended, self._patience)
                frame, self._newest = self._newest, None
            if frame is None:
                self.problem = f"{self.name} stopped delivering frames after {index}: check its cable and power"
                return
            yield f"{self.name}#{index:06d}", frame
            index += 1

    def close(self) -> None:
        with self._change:
            self._ended = True
        self._thread.join(self._patience)
        if not self._thread.is_alive():  # releasing a capture during its read() crashes some drivers
            self._capture.release()

    def _read(self) -> None:
        while True:
            good, frame = self._capture.read()
            with self._change:
                if self._ended:
                    return
                if not good or frame is None:
                    self._ended = True
                    self._change.notify_all()
                    return
                self.dropped += self._newest is not None
                self._newest = frame
                self._change.notify_all()


def open_source(text: str, strict: bool = False) -> Source:
    """The source that `text` names: digits are a camera, a folder or image suffix are pictures, other files a video."""
    path = Path(text)
    if text.isdecimal():
        return Camera(f"camera {text}", _open_capture(int(text)))
    if is_folder(path) or (is_file(path) and path.suffix.lower() in IMAGE_SUFFIXES):
        return Pictures(path, strict)
    if is_file(path):
        return Video(path)
    raise UserError(f"source {text} does not exist: name an image, a folder of images, a video or a camera's number")


def _open_capture(what: str | int) -> Capture:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: it prints past OpenCV's log; read at its first use
    with _quiet_opencv():
        capture = cv2.VideoCapture(what)
        opened = capture.isOpened()
    if not opened and isinstance(what, int):
        raise UserError(f"no camera {what}: it cannot be opened; check that it is plugged in, permitted and its number")
    if not opened:
        raise UserError(f"{what} is no video that OpenCV can read: check the file, or convert it to .mp4")
    return capture


def _frame_rate(capture: Capture) -> float | None:
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate < 1000 else None  # drivers answer 0, -1 or nonsense when they do not know


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Without OpenCV's own lines on stderr: what fails is said once, by our error."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
