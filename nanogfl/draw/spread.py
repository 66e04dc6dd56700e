"""Draws a box whose sides are sharp lines or soft bands, by their standard deviations."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_REACH = 2.5
"""standard deviations that a band reaches on each side, where 4 % of its strength are left"""
_LEAST = 0.1
"""pixels; a smaller deviation is drawn as this one"""


class Strip(NamedTuple):
    """A run of a picture's rows (or columns) and how strongly ink covers each of them, 0 to 1."""

    pixels: slice
    strength: NDArray[np.float32]


def draw_soft_box(
    picture: NDArray[np.uint8],
    box: NDArray[np.float32],
    spread: NDArray[np.float32],
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    """Blends a box x1 y1 x2 y2 with spread left, top, right, bottom (pixels) into a picture uint8 (h, w, 3), in place.

    Each side is a band with the profile of a Gaussian of its spread, and a line of `thickness` pixels that is fainter
    the larger the spread. A band ends as softly as the sides that it meets, so that corners are round.
    """
    height, width = picture.shape[:2]
    limit = (width - 1, height - 1, width - 1, height - 1)
    x1, y1, x2, y2 = (min(max(float(value), 0.0), most) for value, most in zip(box, limit, strict=True))
    left, top, right, bottom = (max(float(value), _LEAST) for value in spread)
    columns, rows = _between(x1, left, x2, right, width), _between(y1, top, y2, bottom, height)
    for y, deviation in ((y1, top), (y2, bottom)):
        _blend(picture, _band(y, deviation, thickness, height), columns, colour)
    for x, deviation in ((x1, left), (x2, right)):
        _blend(picture, rows, _band(x, deviation, thickness, width), colour)
    # The dark line below keeps a light box visible on a light picture; all four of it first, or each would cut the
    # coloured line that it meets. It fades first.
    for ink, wide, power in (((0, 0, 0), thickness + 2, 2), (colour, thickness, 1)):
        columns, rows = _run(x1, x2, wide, width), _run(y1, y2, wide, height)
        for y, deviation in ((y1, top), (y2, bottom)):
            strength = line_strength(deviation, thickness) ** power
            _blend(picture, _weakened(_run(y, y, wide, height), strength), columns, ink)
        for x, deviation in ((x1, left), (x2, right)):
            strength = line_strength(deviation, thickness) ** power
            _blend(picture, rows, _weakened(_run(x, x, wide, width), strength), ink)


def band_strength(deviation: float, thickness: int) -> float:
    """Opacity of a band in its middle: .42 where the deviation is the line's width, .25 where it is fifteen times that.

    A density would fall with 1 / deviation, and a soft side would be invisible; this falls with its fourth root.
    """
    return 0.5 * float((thickness / (thickness + deviation)) ** 0.25)


def line_strength(deviation: float, thickness: int) -> float:
    """Opacity of the line: 1 for a certain side, .65 for a deviation of six line widths, .3 in the limit."""
    return 0.3 + 0.7 / (1 + (deviation / (6 * thickness)) ** 2)


def _band(at: float, deviation: float, thickness: int, size: int) -> Strip:
    """A side at `at`, across: a Gaussian around it, in a picture of `size` pixels."""
    pixels = _inside(at - _REACH * deviation, at + _REACH * deviation, size)
    distance = (np.arange(pixels.start, pixels.stop, dtype=np.float32) - np.float32(at)) / np.float32(deviation)
    return Strip(pixels, np.float32(band_strength(deviation, thickness)) * np.exp(np.float32(-0.5) * distance**2))


def _between(begin: float, before: float, end: float, after: float, size: int) -> Strip:
    """A side along: from one place to another, each with its standard deviation."""
    pixels = _inside(begin - _REACH * before, end + _REACH * after, size)
    place = np.arange(pixels.start, pixels.stop, dtype=np.float32)
    return Strip(pixels, _normal((place - np.float32(begin)) / before) * _normal((np.float32(end) - place) / after))


def _run(begin: float, end: float, wide: int, size: int) -> Strip:
    """The share of every pixel that a line of `wide` pixels covers from `begin` to `end`, its caps included."""
    pixels = _inside(begin - wide / 2 - 1, end + wide / 2 + 1, size)
    place = np.arange(pixels.start, pixels.stop, dtype=np.float32)
    depth = np.minimum(place - np.float32(begin), np.float32(end) - place)
    return Strip(pixels, np.clip(depth + np.float32(wide / 2 + 0.5), 0, 1))


def _weakened(strip: Strip, strength: float) -> Strip:
    return Strip(strip.pixels, strip.strength * np.float32(strength))


def _blend(picture: NDArray[np.uint8], rows: Strip, columns: Strip, ink: tuple[int, int, int]) -> None:
    """A pixel's share of ink is the product of its row's and its column's strength."""
    region = picture[rows.pixels, columns.pixels]
    if not region.size:
        return
    step = max(1, 16384 // region.shape[1])  # pieces that stay in the cache: twice as fast for wide bands
    for first in range(0, region.shape[0], step):
        piece = region[first : first + step]
        share = np.outer(rows.strength[first : first + step], columns.strength)
        # OpenCV on bytes: within a grey level of the product in floating point, and ten times as fast as numpy's
        rest = cv2.convertScaleAbs(1 - share, alpha=255)
        added = cv2.merge([cv2.convertScaleAbs(share, alpha=level) for level in ink])
        piece[:] = cv2.add(cv2.multiply(piece, cv2.merge([rest, rest, rest]), scale=1 / 255), added)


def _inside(begin: float, end: float, size: int) -> slice:
    first = max(math.floor(begin), 0)
    return slice(first, max(min(math.ceil(end) + 1, size), first))


def _normal(z: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) -> (n,): the normal distribution's integral up to z, within .0002 (numpy has no erf)."""
    z = np.clip(z, -5, 5)
    return np.asarray(0.5 + 0.5 * np.tanh(np.float32(0.797885) * (z + np.float32(0.044715) * z * z * z)))
