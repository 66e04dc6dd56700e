"""Moves the boxes of a batch of planned pictures, and decides which of them can still be learned from."""

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.arrays import DataIndex
from nanogfl.data.augment.plan import Plans
from nanogfl.data.truth import FlatTruth


def move_truth(index: DataIndex, plans: Plans, keep_visible: float) -> FlatTruth:
    """The objects and ignored regions of B planned pictures, in input pixels.

    An object's box is the upright hull of its moved corners, clipped to its layer's window. It stays an object if it
    is no crowd region, is more than a pixel wide and high, and at least the share `keep_visible` of the hull is inside
    and not painted over; otherwise what is left of it is an ignored region. In a pasted layer all objects but the
    pasted one are ignored regions.
    """
    depth = plans.index.shape[1]
    place = np.flatnonzero(plans.index >= 0)  # picture * L + layer
    image = plans.index.reshape(-1)[place]
    counts = index.start[image + 1] - index.start[image]
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # of the object in its image
    row = np.repeat(index.start[image], counts) + number  # (T,)
    place = np.repeat(place, counts)
    picture, layer = place // depth, place % depth

    hull = moved_sides(index.boxes[row], plans.matrix.reshape(-1, 9)[place])
    window = plans.window.reshape(-1, 4)[place].T.astype(np.float32)
    clipped = np.maximum(np.minimum(hull, window[[2, 3, 2, 3]]), window[[0, 1, 0, 1]])
    width, height = clipped[2] - clipped[0], clipped[3] - clipped[1]
    visible = width * height - _covered(clipped, picture, layer + 1, plans)
    area = np.maximum((hull[2] - hull[0]) * (hull[3] - hull[1]), 1e-6)
    only = plans.only.reshape(-1)[place]
    positive = (visible / area >= keep_visible) & ~index.crowd[row] & ((only < 0) | (only == number))
    positive &= (width > 1) & (height > 1)  # a sliver of a pixel is nothing to learn from
    ignored = (width > 0) & (height > 0) & (visible > 0) & ~positive
    boxes = np.ascontiguousarray(clipped.T)
    return FlatTruth(boxes[positive], index.labels[row[positive]], picture[positive], boxes[ignored], picture[ignored])


def moved_sides(boxes: NDArray[np.float32], matrices: NDArray[np.float64]) -> NDArray[np.float32]:
    """(T, 4) x1 y1 x2 y2 and (T, 9) homographies -> (4, T) sides of the moved corners' upright hulls, not clipped."""
    entries = np.ascontiguousarray(matrices.T)
    left, top, right, bottom = boxes.T.astype(np.float64)
    x, y = np.stack([left, right, right, left]), np.stack([top, top, bottom, bottom])  # (4, T) corners
    moved_x = entries[0] * x + entries[1] * y + entries[2]
    moved_y = entries[3] * x + entries[4] * y + entries[5]
    if entries[6:8].any():
        away = entries[6] * x + entries[7] * y + entries[8]
        moved_x, moved_y = moved_x / away, moved_y / away
    sides = [moved_x.min(axis=0), moved_y.min(axis=0), moved_x.max(axis=0), moved_y.max(axis=0)]
    return np.stack(sides).astype(np.float32)


def _covered(
    sides: NDArray[np.float32], picture: NDArray[np.int64], first: NDArray[np.int64], plans: Plans
) -> NDArray[np.float32]:
    """(4, T) boxes -> (T,) the area that pasted layers, from number `first` (T,) on, paint over.

    Only pasted layers cover others: those of a mosaic lie side by side, the mixup partner is blended. The area is
    exact: a point counts for the last layer that covers it.
    """
    total = np.zeros(sides.shape[1], dtype=np.float32)
    for layer in np.flatnonzero((plans.only >= 0).any(axis=0)):
        rows = np.flatnonzero((plans.only[:, layer] >= 0)[picture] & (first <= layer))
        window = plans.window[picture[rows], layer].T.astype(np.float32)
        common = np.concatenate([np.maximum(sides[:2, rows], window[:2]), np.minimum(sides[2:, rows], window[2:])])
        hit = (common[2] > common[0]) & (common[3] > common[1])
        rows, common = rows[hit], common[:, hit]
        if len(rows):
            later = _covered(common, picture[rows], np.full(len(rows), layer + 1), plans)
            total[rows] += (common[2] - common[0]) * (common[3] - common[1]) - later
    return total
