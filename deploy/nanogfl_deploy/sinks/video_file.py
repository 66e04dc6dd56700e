"""A video that is written, and read again before it gets its name."""

import math
import os
import shutil
from pathlib import Path

import cv2

from nanogfl.errors import UserError
from nanogfl_deploy.sinks.part import Part
from nanogfl_deploy.sources.capture import Frame, believable_rate, open_capture, quiet_opencv

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".mov": "mp4v", ".m4v": "mp4v", ".avi": "MJPG"}
"""suffix -> FourCC that every build of OpenCV can write"""
_RESERVE = 2_000_000
"""free bytes at which a recording ends, so that it can still be finished"""
_INDEX = 64
"""most bytes per frame of a container's index"""


class VideoFile:
    """A video with a temporary name until it is complete. Frames of a live source are repeated to keep its pace.

    OpenCV's writer does not report a full disk, so the last frame is read again before the file gets its name.
    """

    def __init__(self, path: Path, frame_rate: float) -> None:
        if path.suffix.lower() not in CODECS:
            raise UserError(f"a video is written as {', '.join(CODECS)}, got {path}: name one of these")
        self.path = path
        self.frame_rate = _writable_rate(believable_rate(frame_rate) or 25.0)
        self._part = Part(path)
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._written = 0
        self._live = False

    def add(self, name: str, picture: Frame, seconds: float | None) -> None:
        """Appends a frame. `seconds` since the start for a live source, else None. Raises UserError."""
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
        """`complete`: the file gets its name if all frames can be read again. Otherwise nothing is left.

        Raises UserError where frames are missing; those of a live recording, which cannot be repeated, are then kept
        beside it.
        """
        if self._writer is not None:
            with quiet_opencv():
                self._writer.release()
        if not complete or self._writer is None:
            self._part.drop()
            if complete:
                raise UserError(f"{self.path} was not written: it would have no frame")
            return
        readable = _readable_frames(self._part.path)
        if readable >= self._written:
            self._part.finish()
            return
        reason = (
            f"{self.path} is not complete: {readable} of {self._written} frames can be read again (is the disk full?)"
        )
        if not (self._live and readable):
            self._part.drop()
            raise UserError(f"{reason}; nothing was changed")
        kept = _free_name(self.path)
        os.replace(self._part.path, kept)
        self._part.drop()
        raise UserError(f"{reason}; they are in {kept}")

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        with quiet_opencv():
            writer = cv2.VideoWriter(
                str(self._part.path), cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()]), self.frame_rate, size
            )
        if not writer.isOpened():
            raise UserError(
                f"OpenCV cannot write {size[0]} x {size[1]} pixels at {self.frame_rate:g} frames a second into a"
                f" {self.path.suffix}: is the disk full? if not, name an .avi, or a folder of pictures"
            )
        return writer

    def _require_space(self) -> None:
        free = shutil.disk_usage(self._part.path.parent).free
        if free < _RESERVE + _INDEX * self._written:
            raise UserError(f"the disk of {self.path} is full ({free:,} bytes are free): the recording was ended")


def _writable_rate(rate: float) -> float:
    """MPEG-4 has 16 bits for the denominator of a frame's duration."""
    return round(rate, 3 if rate < 65 else 2 if rate < 655 else 1)


def _readable_frames(path: Path) -> int:
    """The number of frames: as the header says if the last one can be read, else counted by reading all."""
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
