"""Reads every image file once and keeps a few hundred bytes of each: enough to find what is wrong, and near-duplicates.

An image is nearly another where their difference hashes (signs of the horizontal steps in a 9 x 8 grey picture) differ
in few bits and their 16 x 16 grey pictures correlate. Neither alone is enough among a billion pairs; in the sets at
hand, pictures of different things differ in 11 bits or more, or correlate below .9.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.data.cache.ahead import Track, available_threads, map_ahead
from nanogfl.errors import UserError
from nanogfl.io.file_kind import TIFF
from nanogfl.io.images import decode_picture, read_content

MOST_BITS = 8
"""of 64 in which the hashes of near-duplicates differ"""
LEAST_CORRELATION = 0.9
THUMBNAIL = 16
"""side of the small grey picture"""
LEAST_CONTRAST = 4
"""grey levels between the darkest and the lightest pixel of a thumbnail; below, there is nothing to compare"""
_COMPARED = 32
_BITS = (np.uint64(1) << np.arange(64, dtype=np.uint64)).reshape(8, 8)
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
    pixels: list[bytes]
    """a digest of the decoded pixels; empty for an unreadable image"""
    hashes: NDArray[np.uint64]
    """(n,) `difference_hash`"""
    thumbnails: NDArray[np.uint8]
    """(n, T) `thumbnail`; all zero for an unreadable image"""

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


class Pair(NamedTuple):
    """An image, and the other one that it is most like."""

    image: int
    other: int
    bits: int
    """in which the hashes differ"""


def difference_hash(frame: NDArray[np.uint8]) -> np.uint64:
    """64 bits of a frame, uint8 (h, w, 3) BGR."""
    steps = np.diff(_small_grey(frame, 9, 8).astype(np.int16), axis=1)
    return np.uint64(_BITS[steps > 0].sum(dtype=np.uint64))


def thumbnail(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(THUMBNAIL^2,) grey levels of a frame, uint8 (h, w, 3) BGR."""
    return _small_grey(frame, THUMBNAIL, THUMBNAIL).reshape(-1)


def near_duplicates(
    hashes: NDArray[np.uint64],
    thumbnails: NDArray[np.uint8],
    other_hashes: NDArray[np.uint64],
    other_thumbnails: NDArray[np.uint8],
) -> list[Pair]:
    """Those of n images that are nearly one of m others, each with the likest: hashes (n,), (m,), thumbnails (n, T),
    (m, T).

    All n x m hashes are compared, a row of m at a time: the processor counts bits faster than bands of the hash could
    be looked up (about a second for 10,000 x 100,000), whatever the images are like, and nothing is kept.
    """
    shown = np.flatnonzero(np.ptp(other_thumbnails, axis=1) >= LEAST_CONTRAST)
    compared = other_hashes[shown]
    pairs = []
    for number in np.flatnonzero(np.ptp(thumbnails, axis=1) >= LEAST_CONTRAST).tolist():
        bits = np.bitwise_count(compared ^ hashes[number])
        near = np.flatnonzero(bits <= MOST_BITS)
        if not len(near):
            continue
        near = near[np.argsort(bits[near], kind="stable")[:_COMPARED]]
        alike = _centred(other_thumbnails[shown[near]]) @ _centred(thumbnails[number])
        best = int(np.argmax(alike))
        if alike[best] >= LEAST_CORRELATION:
            pairs.append(Pair(number, int(shown[near[best]]), int(bits[near[best]])))
    return pairs


def _small_grey(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def _centred(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(..., T) of mean 0 and length 1: their products are correlations."""
    centred = thumbnails - thumbnails.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=-1, keepdims=True), dtype=np.float64)
