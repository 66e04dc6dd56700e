"""The classes of a drawing and their frequencies: six shapes, equally frequent, or a long tail of coloured shapes."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nanogfl.data.synthetic.shapes import SHAPES

COLOURS = {"red": (174, 188), "green": (52, 68), "blue": (104, 118), "purple": (138, 152)}
"""name -> OpenCV's hue, first and last, in half degrees (a circle of 180): wide gaps lie between them"""

MOST_RATIO = 1_000_000


@dataclass(frozen=True)
class Catalogue:
    """The classes of a data set, by label."""

    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    """with gaps, like COCO's"""
    shapes: tuple[int, ...]
    """index into SHAPES of each class"""
    hues: tuple[tuple[int, int] | None, ...]
    """range of hues of each class; None: any colour"""
    shares: tuple[float, ...] | None = None
    """share of each class among the objects, sum 1; None: all equal"""

    def draw_label(self, rng: Generator) -> int:
        if self.shares is None:
            return int(rng.integers(len(self.classes)))
        return int(np.searchsorted(np.cumsum(self.shares)[:-1], rng.random(), side="right"))


SIX_SHAPES = Catalogue(SHAPES, (1, 2, 3, 5, 8, 13), tuple(range(len(SHAPES))), (None,) * len(SHAPES))


def long_tail(ratio: float) -> Catalogue:
    """24 classes, each shape in each colour, whose frequencies fall geometrically from 1 to 1 / `ratio`.

    Every shape and every colour occurs among the frequent classes, so that a rare class is a rare combination of
    familiar parts. Raises ValueError for a ratio outside 1 .. MOST_RATIO.
    """
    if not 1 <= ratio <= MOST_RATIO:  # false of NaN, too
        raise ValueError(f"tail, the ratio of a long tail, must lie in 1 to {MOST_RATIO:,}, got {ratio}")
    names = list(COLOURS)
    pairs = [(rank % len(SHAPES), (rank // len(SHAPES) + rank % len(SHAPES)) % len(names)) for rank in range(24)]
    return Catalogue(
        classes=tuple(f"{names[colour]} {SHAPES[shape]}" for shape, colour in pairs),
        category_ids=tuple(range(2, 2 + 3 * len(pairs), 3)),
        shapes=tuple(shape for shape, _ in pairs),
        hues=tuple(COLOURS[names[colour]] for _, colour in pairs),
        shares=tuple(tail_shares(len(pairs), ratio).tolist()),
    )


def tail_shares(count: int, ratio: float) -> NDArray[np.float64]:
    """(C,) shares for `count` classes that fall geometrically; the last is the first / `ratio`, their sum is 1."""
    frequencies = ratio ** -(np.arange(count) / (count - 1))
    return np.asarray(frequencies / frequencies.sum(), dtype=np.float64)
