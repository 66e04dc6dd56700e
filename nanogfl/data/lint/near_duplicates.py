"""Images that a data set holds twice: to the pixel, or once more re-encoded, rescaled and a little brighter.

An image is nearly another where their difference hashes (signs of the horizontal steps in a 9 x 8 grey picture) differ
in few bits and their 16 x 16 grey pictures correlate. Neither alone is enough among a billion pairs; in the sets at
hand, pictures of different things differ in 11 bits or more, or correlate below .9.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

MOST_BITS = 8
"""of 64 in which the hashes of near-duplicates differ"""
LEAST_CORRELATION = 0.9
THUMBNAIL = 16
"""side of the small grey picture"""
LEAST_CONTRAST = 4
"""grey levels between its darkest and lightest pixel, below which nothing is there to compare"""
_COMPARED = 32
_BITS = (np.uint64(1) << np.arange(64, dtype=np.uint64)).reshape(8, 8)


class Pair(NamedTuple):
    """An image and the one of the others that it is most like."""

    image: int
    other: int
    bits: int
    """in which the hashes differ"""


def difference_hash(frame: NDArray[np.uint8]) -> np.uint64:
    """Frame uint8 (h, w, 3) BGR -> 64 bits."""
    steps = np.diff(_small_grey(frame, 9, 8).astype(np.int16), axis=1)
    return np.uint64(_BITS[steps > 0].sum(dtype=np.uint64))


def thumbnail(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frame uint8 (h, w, 3) BGR -> (THUMBNAIL^2,) grey levels."""
    return _small_grey(frame, THUMBNAIL, THUMBNAIL).reshape(-1)


def near_duplicates(
    hashes: NDArray[np.uint64],
    thumbnails: NDArray[np.uint8],
    other_hashes: NDArray[np.uint64],
    other_thumbnails: NDArray[np.uint8],
) -> list[Pair]:
    """Those of n images that are nearly one of m others, each with the likest. (n,), (n, T), (m,), (m, T).

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
