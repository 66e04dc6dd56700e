"""A video that is written, and looked at again before it gets its name."""

import math
import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import cv2

from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl_deploy.sinks.unfinished import drop
from nanogfl_deploy.sources.capture import Frame, believable_rate, open_capture, quiet_opencv

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".mov": "mp4v", ".m4v": "mp4v", ".avi": "MJPG"}
"""what OpenCV can write wherever it is installed: suffix -> FourCC"""
_RESERVE = 2_000_000
"""bytes of the disk that are left for the end of a recording: a recording ends while it can still be finished"""
_INDEX = 64
"""bytes of a container's index per frame, at most"""


class VideoFile:
    """A video under a temporary name until it is complete. A live source's frames are repeated to keep its pace.

    OpenCV's writer never says that a disk is full: before the file gets its name, its last frame is read again.
    """

    def __init__(self, path: Path, frame_rate: float) -> None:
        if path.suffix.lower() not in CODECS:
            raise UserError(f"a video is written as {', '.join(CODECS)}, got {path}: name one of these")
        self.path = path
        self.frame_rate = _writable_rate(believable_rate(frame_rate) or 25.0)
        self._until_named = ExitStack()
        self._part = self._until_named.enter_context(atomic_path(path, recording=True))
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._written = 0
        self._live = False

    def add(self, name: str, picture: Frame, seconds: float | None) -> None:
        """`seconds` since the start for a live source, else None."""
        size = (picture.shape[1], picture.shape[0])
        if self._writer is None:
            self._size = size
            self._writer = self._open(size)
        if size != self._size:
            raise UserError(
                f"a video has frames of one size, {name} is {size[0]} x {size[1]} after"
                f" {self._size[0]} x {self._size[1]}: save into a folder"
            )
        due = self._written + 1 if seconds is None else math.floor(seconds * self.frame_rate) + 1
        self._live = seconds is not None
        if self._live:
            self._require_space()
        with quiet_opencv():
            while self._written < due:
                self._writer.write(picture)
                self._written += 1

    def close(self, complete: bool) -> None:
        """`complete`: it gets its name if all of it can be read again, else a UserError says why not. What can be read
        of a live recording is then kept beside it: it cannot be made again. Not complete: nothing is left."""
        if self._writer is not None:
            with quiet_opencv():
                self._writer.release()
        if not complete or self._writer is None:
            drop(self._until_named)
            if complete:
                raise UserError(f"{self.path} was not written: it would have no frame")
            return
        readable = _readable_frames(self._part)
        if readable >= self._written:
            self._until_named.close()
            return
        reason = (
            f"{self.path} is not complete: {readable} of {self._written} frames can be read again (is the disk full?)"
        )
        if not (self._live and readable):
            drop(self._until_named)
            raise UserError(f"{reason}; nothing was changed")
        kept = _free_name(self.path)
        os.replace(self._part, kept)
        drop(self._until_named)
        raise UserError(f"{reason}; they are in {kept}")

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        with quiet_opencv():
            writer = cv2.VideoWriter(
                str(self._part), cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()]), self.frame_rate, size
            )
        if not writer.isOpened():
            raise UserError(
                f"OpenCV cannot write {size[0]} x {size[1]} pixels at {self.frame_rate:g} frames a second into a"
                f" {self.path.suffix}: is the disk full? if not, name an .avi, or a folder of pictures"
            )
        return writer

    def _require_space(self) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if free < _RESERVE + _INDEX * self._written:
            raise UserError(f"the disk of {self.path} is full ({free:,} bytes are free): the recording was ended")


def _writable_rate(rate: float) -> float:
    """MPEG-4 has 16 bits for the denominator of a frame's duration."""
    return round(rate, 3 if rate < 65 else 2 if rate < 655 else 1)


def _readable_frames(path: Path) -> int:
    """How many frames the file holds, by its own account if its last one can be read, else by reading them all."""
    capture = open_capture(str(path), is_file=True)
    if capture is None:
        return 0
    try:
        with quiet_opencv():
            count = round(max(capture.get(cv2.CAP_PROP_FRAME_COUNT), 0))
            if count and capture.set(cv2.CAP_PROP_POS_FRAMES, count - 1) and capture.read()[0]:
                return count
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            count = 0
            while capture.read()[0]:
                count += 1
            return count
    finally:
        capture.release()


def _free_name(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.stem}-incomplete-{number}{path.suffix}")).exists():
        number += 1
    return kept
