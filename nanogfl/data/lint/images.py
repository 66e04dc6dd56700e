"""Reads every image file once and keeps a few hundred bytes of each: enough to find what is wrong, and copies."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.data.cache.ahead import Track, available_threads, map_ahead
from nanogfl.data.split.fingerprints import Fingerprints
from nanogfl.errors import UserError
from nanogfl.io.file_kind import TIFF
from nanogfl.io.images import decode_picture, read_content

_EXIF_MARKS = (b"Exif", b"eXIf", b"EXIF")  # of JPEG and AVIF, PNG, WebP


@dataclass(frozen=True)
class Looks:
    """What is kept of n images."""

    complaints: list[str | None]
    """why an image cannot be read; the other entries of such a row are empty"""
    hw: NDArray[np.int64]
    """(n, 2) height and width of the frame"""
    stored_hw: NDArray[np.int64]
    """(n, 2) height and width in the file of an image that is turned or mirrored when it is read; 0 for any other"""
    notes: list[tuple[str, ...]]
    """what of a readable image's file is not in its frame"""
    prints: Fingerprints
    """what copies are found by: a digest of the decoded pixels, and hashes"""

    def part(self, rows: slice) -> "Looks":
        return Looks(*(getattr(self, each.name)[rows] for each in fields(self)))


def look_at_images(paths: Sequence[Path], track: Track = lambda results, _: results) -> Looks:
    """Reads and decodes every file, in a few threads; `track(results, count)` may show progress."""
    count = len(paths)
    looks = Looks(
        [],
        np.zeros((count, 2), dtype=np.int64),
        np.zeros((count, 2), dtype=np.int64),
        [()] * count,
        Fingerprints.nothing(count),
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
        pixels = np.ascontiguousarray(frame).data
        digest = hashlib.blake2b(pixels, digest_size=16, person=shape[:2].tobytes()).digest()
        looks.prints.set(number, digest, frame)
        return None

    looks.complaints.extend(track(map_ahead(look, range(count), available_threads()), count))
    return looks


def hw_before_turning(content: bytes) -> tuple[int, int] | None:
    """Height and width in the file, from its bytes, of an image that `decode_picture` turns or mirrors; else None.

    OpenCV itself is asked, by decoding with and without the EXIF orientation.
    """
    if content[:4] not in TIFF and not any(mark in content for mark in _EXIF_MARKS):
        return None
    encoded = np.frombuffer(content, dtype=np.uint8)
    small = cv2.IMREAD_REDUCED_GRAYSCALE_8
    turned, stored = (cv2.imdecode(encoded, flags) for flags in (small, small | cv2.IMREAD_IGNORE_ORIENTATION))
    if turned is None or stored is None or np.array_equal(turned, stored):
        return None
    whole = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if whole is None else whole.shape[:2]
