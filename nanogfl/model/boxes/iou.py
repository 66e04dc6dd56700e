"""Area and overlap of boxes x1 y1 x2 y2, elementwise (not for all pairs)."""

from torch import Tensor


def box_area(boxes: Tensor) -> Tensor:
    """(..., 4) -> (...), in squared pixels."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Two (..., 4) that broadcast -> (...): intersection over union, 0 where both are empty."""
    intersection, union = _overlap(a, b)
    return intersection / union.clamp(min=1e-7)


def box_giou(a: Tensor, b: Tensor) -> Tensor:
    """Two (..., 4) that broadcast -> (...): generalized IoU in (-1, 1]. arXiv:1902.09630."""
    intersection, union = _overlap(a, b)
    hull_sides = (_max(a, b, slice(2, 4)) - _min(a, b, slice(0, 2))).clamp(min=0)
    hull = hull_sides[..., 0] * hull_sides[..., 1]
    return intersection / union.clamp(min=1e-7) - (hull - union) / hull.clamp(min=1e-7)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    sides = (_min(a, b, slice(2, 4)) - _max(a, b, slice(0, 2))).clamp(min=0)
    intersection = sides[..., 0] * sides[..., 1]
    return intersection, box_area(a) + box_area(b) - intersection


def _min(a: Tensor, b: Tensor, part: slice) -> Tensor:
    return a[..., part].minimum(b[..., part])


def _max(a: Tensor, b: Tensor, part: slice) -> Tensor:
    return a[..., part].maximum(b[..., part])
