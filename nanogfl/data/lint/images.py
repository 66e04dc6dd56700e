"""Every image file decoded once, and a few hundred bytes kept of each: enough to find what is wrong with it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.cache.ahead import Track, available_threads, map_ahead
from nanogfl.data.lint.near_duplicates import THUMBNAIL, difference_hash, thumbnail
from nanogfl.data.lint.orientation import hw_before_turning
from nanogfl.errors import UserError
from nanogfl.io.images import decode_picture, read_content


@dataclass(frozen=True)
class Looks:
    """What is kept of n images."""

    complaints: list[str | None]
    """why an image cannot be read; the rest of such a row says nothing"""
    hw: NDArray[np.int64]
    """(n, 2) as `read_frame` delivers it"""
    stored_hw: NDArray[np.int64]
    """(n, 2) of an image that is turned or mirrored when it is read; 0 for any other"""
    notes: list[tuple[str, ...]]
    """what of an image that can be read is not in its frame"""
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
            self.stored_hw[rows],
            self.notes[rows],
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
        np.zeros((count, 2), dtype=np.int64),
        [()] * count,
        [b""] * count,
        np.zeros(count, dtype=np.uint64),
        np.zeros((count, THUMBNAIL * THUMBNAIL), dtype=np.uint8),
    )

    def look(number: int) -> str | None:
        try:
            content = read_content(paths[number])
        except UserError as error:
            return str(error)
        try:
            frame, looks.notes[number] = decode_picture(content)
        except UserError as error:
            return f"{paths[number]} {error}"
        looks.hw[number] = frame.shape[:2]
        looks.stored_hw[number] = hw_before_turning(content) or (0, 0)
        shape = np.array(frame.shape, dtype=np.int64)  # the same bytes in another shape are another picture
        looks.pixels[number] = hashlib.blake2b(
            np.ascontiguousarray(frame).data, digest_size=16, person=shape[:2].tobytes()
        ).digest()
        looks.hashes[number] = difference_hash(frame)
        looks.thumbnails[number] = thumbnail(frame)
        return None

    looks.complaints.extend(track(map_ahead(look, range(count), available_threads()), count))
    return looks
