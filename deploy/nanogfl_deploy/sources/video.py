"""The frames of a video file; those that cannot be read are skipped."""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import cv2

from nanogfl.errors import UserError
from nanogfl_deploy.sources.capture import Capture, Frame, Source, believable_rate, open_capture, quiet_opencv

_MOST_FAILED = 10_000
"""failed reads in a row after which the file is taken to end, whatever its header says (.3 s)"""
_UNEVEN = 0.25
"""seconds that a frame may deviate from an even pace"""
_MOST_HEADER_BYTES = 100_000_000
"""of an .mp4's header that is read: the index of a day's frames takes some 50 MB"""


class Video(Source):
    """Every frame of a video file, in order, named file#000000 and so on. A frame that cannot be read keeps its number.

    OpenCV reports a damaged frame and the end of the file in the same way, so reading goes on while the header has
    frames due. Unread frames are in `skipped`, frames missing at the end are a `problem`; with `strict` both raise
    UserError.
    """

    def __init__(self, path: Path, capture: Capture | None = None, strict: bool = False) -> None:
        capture = capture or open_capture(str(path), is_file=True)
        if capture is None:
            raise UserError(f"{path} is no video that OpenCV can read: check the file, or convert it to .mp4")
        self._capture: Capture = capture
        self.claimed_rate = capture.get(cv2.CAP_PROP_FPS)
        """frames per second as the header says, plausible or not"""
        super().__init__(path.name, path, believable_rate(self.claimed_rate))
        self.uneven = False
        """frames come at other times than `frame_rate` implies"""
        self._strict = strict
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._due = count if count >= 1 else math.inf  # containers without an index answer 0 or less
        self._origin: float | None = None
        self._frames = self._read()
        self._first = next(self._frames, None)
        if self._first is None:
            capture.release()
            raise UserError(f"{path} is no video that OpenCV can read, or has no frames: check the file")

    def __iter__(self) -> Iterator[tuple[str, Frame]]:
        following, self._first = self._first, None
        failed: list[int] = []
        expected = 0
        while following is not None and not self.stopped:
            index, seconds, frame = following
            failed += range(expected, index)
            if failed and self._strict:
                raise UserError(self._unread(failed))
            self._note_time(index, seconds)
            yield f"{self.name}#{index:06d}", frame
            expected = index + 1
            following = next(self._frames, None)
        if failed:
            self.skipped.append(self._unread(failed))
        if not self.stopped and self._ends_early(expected):
            self.problem = (
                f"{self.path} ends after {expected} frames, its header says {self._due:.0f}: it is damaged, cut off or"
                " not yet complete; what was there has been used"
            )
            if self._strict:
                raise UserError(self.problem)

    def close(self) -> None:
        self._capture.release()

    def _read(self) -> Iterator[tuple[int, float, Frame]]:
        """(number, seconds, frame) of each frame that can be read."""
        index = failed = 0
        while failed < _MOST_FAILED:
            with quiet_opencv():
                good, frame = self._capture.read()
            if good and frame is not None:
                failed = 0
                yield index, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3, frame
            elif self._due <= index < self._due + 1:  # frames beyond it have shown the header to be wrong
                return
            else:
                failed += 1
            index += 1

    def _note_time(self, index: int, seconds: float) -> None:
        if self._origin is None:
            self._origin = seconds
        self.seconds = seconds - self._origin if math.isfinite(seconds - self._origin) else None
        if self.seconds is not None and self.frame_rate is not None and self.seconds > 0:
            self.uneven |= abs(self.seconds - index / self.frame_rate) > _UNEVEN

    def _unread(self, failed: list[int]) -> str:
        what = "frame" if len(failed) == 1 else "frames"
        return f"{len(failed)} {what} of {self.path} cannot be read, the first is number {failed[0]}"

    def _ends_early(self, came: int) -> bool:
        """Whether the header promises more frames than came.

        An .mp4 or .avi counts frames, though an .mp4's edit list may cut some away. Of other containers OpenCV derives
        the number from the duration, which is compared instead.
        """
        if math.isinf(self._due) or came >= self._due:
            return False
        if self.seconds is None or self.frame_rate is None:
            return True
        if _counts_frames(self.path):
            shown = None if self.path is None else shown_seconds(self.path)
            return shown is None or came < shown * self.frame_rate - 1.5
        return self.seconds + 1 < 0.9 * self._due / self.frame_rate


def _counts_frames(path: Path | None) -> bool:
    try:
        with open(path or "", "rb") as file:
            head = file.read(12)
    except OSError:
        return True
    return head[:4] == b"RIFF" or head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")


def shown_seconds(path: Path) -> float | None:
    """The duration in an .mp4's or .mov's movie header (ISO/IEC 14496-12, 8.2.2); None where none is found."""
    try:
        with path.open("rb") as file:
            while len(head := file.read(8)) == 8:
                size, kind = struct.unpack(">I4s", head)
                taken = 8
                if size == 1:  # a 64-bit size follows
                    (size,) = struct.unpack(">Q", file.read(8))
                    taken = 16
                if kind == b"moov":
                    return _duration(file.read(min(max(size - taken, 0), _MOST_HEADER_BYTES)))
                if size < taken:
                    return None
                file.seek(size - taken, 1)
    except (OSError, struct.error, ZeroDivisionError, OverflowError):
        pass  # damaged: the count of frames stands
    return None


def _duration(movie: bytes) -> float | None:
    at = movie.find(b"mvhd")
    if at < 0:
        return None
    times = ">IQ" if movie[at + 4 : at + 5] == b"\1" else ">II"  # behind the times of creation and last change
    scale, duration = struct.unpack_from(times, movie, at + (24 if times == ">IQ" else 16))
    return float(duration / scale)
