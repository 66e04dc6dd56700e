"""A few hundred bytes of each image, enough to find those that look nearly alike.

Two images look nearly alike where their difference hashes (signs of the horizontal steps in a 9 x 8 grey picture)
differ in few bits and their 16 x 16 grey pictures correlate, one of them perhaps mirrored or turned by quarters.
Neither alone is enough among a billion pairs.

Not found: crops, turns by other angles, and a small object that is pasted or moved.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.data.cache.ahead import Track, available_threads, map_ahead
from nanogfl.data.dataset import ImageRecord
from nanogfl.errors import UserError
from nanogfl.io.images import decode_small_grey, read_content

MOST_BITS = 8
"""of 64 in which the hashes of near-duplicates differ"""
LEAST_CORRELATION = 0.97
"""of their thumbnails; different objects before one plain background reach .965"""
THUMBNAIL = 16
"""side of the small grey picture"""
LEAST_CONTRAST = 4
"""grey levels between the darkest and the lightest pixel of a thumbnail; below, there is nothing to compare"""
_DETAIL = 32
"""side of the grey picture from which hashes and thumbnail are made"""
_COMPARED = 256
"""of the images with near hashes, as many are compared in detail"""
_TURNS = 8
"""symmetries of a square"""


def _places(side: int) -> NDArray[np.int64]:
    """(8, side^2) which pixel of a square picture lies where once it is mirrored and turned; the first: unchanged."""
    square = np.arange(side**2).reshape(side, side)
    both = square, square[:, ::-1]
    return np.stack([np.rot90(one, quarters).reshape(-1) for one in both for quarters in range(4)])


def _cells(count: int) -> NDArray[np.float32]:
    """(count, 32) how much of each pixel lies in each of `count` equal cells, in whole units of 1 / count pixel."""
    start = np.arange(count)[:, None] * _DETAIL
    pixel = np.arange(_DETAIL) * count
    return (np.minimum(start + _DETAIL, pixel + count) - np.maximum(start, pixel)).clip(0).astype(np.float32)


_DETAIL_PLACES, _PLACES = _places(_DETAIL), _places(THUMBNAIL)
_ROWS, _COLUMNS = _cells(8), _cells(9).T


@dataclass(frozen=True)
class Fingerprints:
    """What is kept of n images."""

    digests: list[bytes]
    """equal for the same picture; empty for an image that cannot be read"""
    hashes: NDArray[np.uint64]
    """(n, 8) difference hashes: of the image, and of the image mirrored and turned"""
    thumbnails: NDArray[np.uint8]
    """(n, T) grey levels; all zero for an image that cannot be read"""

    def __getitem__(self, rows: slice) -> "Fingerprints":
        return Fingerprints(*(getattr(self, each.name)[rows] for each in fields(self)))

    @staticmethod
    def nothing(count: int) -> "Fingerprints":
        """Of images of which nothing is known yet, to be filled."""
        shape = (count, _TURNS), (count, THUMBNAIL**2)
        return Fingerprints([b""] * count, np.zeros(shape[0], np.uint64), np.zeros(shape[1], np.uint8))

    def set(self, row: int, digest: bytes, frame: NDArray[np.uint8]) -> None:
        """`frame`: uint8 (h, w, 3) BGR, or (h, w) grey."""
        self.digests[row] = digest
        small = cv2.resize(frame, (_DETAIL, _DETAIL), interpolation=cv2.INTER_AREA)
        grey = np.asarray(small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        self.hashes[row] = _difference_hashes(grey)
        half = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
        self.thumbnails[row] = half.reshape(-1)


def read_fingerprints(records: Sequence[ImageRecord], track: Track = lambda results, _: results) -> Fingerprints:
    """Reads the images, JPEG at a fraction of their size, in a few threads; `track(results, count)` may show it."""
    prints = Fingerprints.nothing(len(records))

    def look(row: int) -> str | None:
        record = records[row]
        try:
            content = read_content(record.path)
            frame = decode_small_grey(content, min(record.hw) // _DETAIL)
        except UserError as error:
            return f"{record.path}: {error}"
        prints.set(row, hashlib.blake2b(content, digest_size=16).digest(), frame)
        return None

    for _ in track(map_ahead(look, range(len(records)), available_threads()), len(records)):
        pass
    return prints


def joined(first: Fingerprints, second: Fingerprints) -> Fingerprints:
    """Of all images of `first` and then of `second`."""
    hashes, thumbnails = (
        np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("hashes", "thumbnails")
    )
    return Fingerprints([*first.digests, *second.digests], hashes, thumbnails)


def near_images(
    prints: Fingerprints, row: int, others: Fingerprints, among: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of `others` that look nearly like image `row`, the likest first, and the bits (of 64) in which their hashes
    differ. `among` (m,) of them are compared, from the row on that begins it; None: all.

    All hashes are compared: the processor counts bits faster than bands of the hash could be looked up, whatever the
    images are like, and nothing is kept.
    """
    nothing = np.zeros(0, np.int64)
    if np.ptp(prints.thumbnails[row]) < LEAST_CONTRAST:
        return nothing, nothing
    first = 0 if among is None else len(others.digests) - len(among)
    bits = np.bitwise_count(others.hashes[first:] ^ prints.hashes[row, 0]).reshape(-1)
    near = np.flatnonzero(bits <= MOST_BITS)
    if among is not None:
        near = near[among[near // _TURNS]]
    if not len(near):
        return nothing, nothing
    near = near[np.argsort(bits[near], kind="stable")[:_COMPARED]]
    found, turn = near // _TURNS + first, near % _TURNS
    alike = _centred(others.thumbnails[found[:, None], _PLACES[turn]]) @ _centred(prints.thumbnails[row])
    order = np.argsort(-alike, kind="stable")
    order = order[alike[order] >= LEAST_CORRELATION]
    return found[order], bits[near[order]].astype(np.int64)


def likeness(prints: Fingerprints, rows: Sequence[int], others: Sequence[int], *, turned: bool) -> float:
    """The highest correlation of a thumbnail of `rows` with one of `others`, which may be `turned`."""
    places = _PLACES if turned else _PLACES[:1]
    first = _centred(prints.thumbnails[np.asarray(rows)])
    second = _centred(prints.thumbnails[np.asarray(others)[:, None, None], places]).reshape(-1, THUMBNAIL**2)
    return float((first @ second.T).max())


def _difference_hashes(grey: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(8,) of a picture (32, 32) and of its symmetries. Sums of whole numbers, exact on every machine."""
    turned = grey.reshape(-1)[_DETAIL_PLACES].reshape(_TURNS, _DETAIL, _DETAIL).astype(np.float32)
    steps = np.diff(_ROWS @ turned @ _COLUMNS, axis=2)
    half_a_level = 0.5 * _DETAIL**2
    return np.packbits(steps.reshape(_TURNS, 64) > half_a_level, axis=1).view(np.uint64)[:, 0]


def _centred(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(..., T) of mean 0 and length 1, so that their products are correlations; 0 where there is no contrast."""
    centred = thumbnails - thumbnails.mean(axis=-1, keepdims=True)
    centred *= np.ptp(thumbnails, axis=-1, keepdims=True) >= LEAST_CONTRAST
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1), dtype=np.float64)
