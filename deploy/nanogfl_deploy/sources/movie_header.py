"""How long an .mp4 or .mov is shown: its own count of frames includes those that an edit list cuts away."""

import struct
from pathlib import Path

_MOST_BYTES = 100_000_000
"""of the header that is read: an index of a day's frames takes some 50"""


def shown_seconds(path: Path) -> float | None:
    """ISO/IEC 14496-12, 8.2.2: the movie header's duration; None where there is none to be found."""
    try:
        with path.open("rb") as file:
            while len(head := file.read(8)) == 8:
                size, kind = struct.unpack(">I4s", head)
                taken = 8
                if size == 1:  # a 64-bit size follows
                    (size,) = struct.unpack(">Q", file.read(8))
                    taken = 16
                if kind == b"moov":
                    return _duration(file.read(min(max(size - taken, 0), _MOST_BYTES)))
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
    times = ">IQ" if movie[at + 4 : at + 5] == b"\1" else ">II"  # behind the times of creation and of the last change
    scale, duration = struct.unpack_from(times, movie, at + (24 if times == ">IQ" else 16))
    return float(duration / scale)
