"""Every image file decoded once, and a few hundred bytes kept of each: enough to find what is wrong with it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.errors import UserError
from nanogfl.contract.frames import decode_frame, read_content
from nanogfl.data.ahead import Track, available_threads, map_ahead
from nanogfl.data.check.near_duplicates import THUMBNAIL, difference_hash, thumbnail
from nanogfl.data.check.orientation import orientation


@dataclass(frozen=True)
class Looks:
    """What is kept of n images."""

    complaints: list[str | None]
    """why an image cannot be read; the rest of such a row says nothing"""
    hw: NDArray[np.int64]
    """(n, 2) as `read_frame` delivers it"""
    orientation: NDArray[np.int64]
    """(n,) of EXIF, 1: upright as stored"""
    pixels: list[bytes]
    """a digest of the decoded pixels; empty for an unreadable image"""
    hashes: NDArray[np.uint64]
    """(n,) `difference_hash`"""
    thumbnails: NDArray[np.uint8]
    """(n, T) `thumbnail`; without contrast, all zero, for an unreadable image"""

    def part(self, rows: slice) -> "Looks":
        return Looks(
            self.complaints[rows],
            self.hw[rows],
            self.orientation[rows],
            self.pixels[rows],
            self.hashes[rows],
            self.thumbnails[rows],
        )


def look_at_images(paths: Sequence[Path], track: Track = lambda results, _: results) -> Looks:
    """Reads and decodes every file, in a few threads, a few images ahead; `track(results, count)` may show progress."""
    count = len(paths)
    looks = Looks(
        [],
        np.zeros((count, 2), dtype=np.int64),
        np.ones(count, dtype=np.int64),
        [b""] * count,
        np.zeros(count, dtype=np.uint64),
        np.zeros((count, THUMBNAIL * THUMBNAIL), dtype=np.uint8),
    )

    def look(number: int) -> str | None:
        try:
            content = read_content(paths[number])
            frame = decode_frame(content)
        except UserError as error:
            return str(error)
        looks.hw[number] = frame.shape[:2]
        looks.orientation[number] = orientation(content)
        shape = np.array(frame.shape, dtype=np.int64)  # the same bytes in another shape are another picture
        looks.pixels[number] = hashlib.blake2b(
            np.ascontiguousarray(frame).data, digest_size=16, person=shape[:2].tobytes()
        ).digest()
        looks.hashes[number] = difference_hash(frame)
        looks.thumbnails[number] = thumbnail(frame)
        return None

    looks.complaints.extend(track(map_ahead(look, range(count), available_threads()), count))
    return looks
