"""Detections, and the selection of detections among the network's boxes (contract version 1)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.input_spec import Placement

MOST_CLASSES = 30_000
"""of a model or a data set. V3Det, the largest that we know, has 13,204; the scores of 30,000 classes at the 2,125
points of a 320 x 320 input take 255 MB"""
_MOST_CANDIDATES = 100_000
"""more than the 87,040 points of a 2048 x 2048 input"""


@dataclass(frozen=True)
class Sides:
    """The distributions that D boxes were decoded from; sides in the order left, top, right, bottom."""

    probabilities: NDArray[np.float32]
    """(D, 4, R + 1), one per bin"""
    origin: NDArray[np.float32]
    """(D, 4) position of bin 0, the grid point's x, y, x, y, in pixels of the boxes"""
    step: NDArray[np.float32]
    """(D, 4) from one bin to the next in these pixels; negative for left and top"""

    def expectation(self) -> NDArray[np.float32]:
        """(D, 4) x1 y1 x2 y2: the sides before they are clipped to the image."""
        bins = np.arange(self.probabilities.shape[-1], dtype=np.float32)
        return self.origin + self.probabilities @ bins * self.step

    def deviation(self) -> NDArray[np.float32]:
        """(D, 4) standard deviations of left, top, right, bottom: the spread of the boxes."""
        bins = np.arange(self.probabilities.shape[-1], dtype=np.float32)
        from_mean = bins - (self.probabilities @ bins)[..., None]
        variance = (self.probabilities * from_mean * from_mean).sum(axis=-1)
        return np.asarray(np.sqrt(variance) * np.abs(self.step), dtype=np.float32)

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> "Sides":
        """Those at positions (K,), in that order, or where a mask (D,) is true."""
        return Sides(self.probabilities[index], self.origin[index], self.step[index])


def sides_at(probabilities: NDArray[np.float32], points: NDArray[np.float32]) -> Sides:
    """Probabilities (D, 4, R + 1) and points (D, 3), x y and the pixels between two bins -> `Sides` in these pixels."""
    signs = np.array([-1, -1, 1, 1], dtype=np.float32)
    return Sides(probabilities, points[:, [0, 1, 0, 1]], points[:, 2:] * signs)


@dataclass(frozen=True)
class Detections:
    """D detections, best first, in pixels of the source frame or of the network input, as their source says."""

    boxes: NDArray[np.float32]
    """(D, 4) x1 y1 x2 y2"""
    scores: NDArray[np.float32]
    """(D,) 0 to 1"""
    labels: NDArray[np.int64]
    """(D,) index into the class names"""
    spread: NDArray[np.float32] | None = None
    """(D, 4) standard deviations of left, top, right, bottom in pixels; None where the model has none"""
    sides: Sides | None = None
    """only from `Predictor.explain`, or an .onnx exported with --distributions"""

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> "Detections":
        """Those at positions (K,), in that order, or where a mask (D,) is true."""
        spread = None if self.spread is None else self.spread[index]
        sides = None if self.sides is None else self.sides.take(index)
        return Detections(self.boxes[index], self.scores[index], self.labels[index], spread, sides)

    def above(self, score: float) -> "Detections":
        """Those with a score of at least `score`, such as a client shows."""
        return self.take(self.scores >= score)


Detect = Callable[[NDArray[np.uint8]], Detections]
"""Frame uint8 (h, w, 3) BGR -> detections in the frame's pixels; checkpoints and .onnx files offer it."""


@dataclass(frozen=True)
class Selection:
    """The parameters of `select`. Raises ValueError for values out of bounds."""

    score: float = 0.05
    """a detection has a larger score"""
    iou: float = 0.6
    """within a class, a box with a larger IoU with a better box is suppressed"""
    candidates: int = 1000
    """first this many points by their best class, then this many (point, class) pairs; with fewer than 1000 the COCO
    detector loses detections"""
    keep: int = 100
    """at most this many detections per image"""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not 0 <= self.score < 1 or not 0 < self.iou <= 1:
            raise ValueError(f"score must lie in [0, 1) and iou in (0, 1], got {self.score} and {self.iou}")
        if not 1 <= self.keep <= self.candidates <= _MOST_CANDIDATES:
            most = f"1 <= keep <= candidates <= {_MOST_CANDIDATES:,}"
            raise ValueError(f"{most} must hold, got keep {self.keep}, candidates {self.candidates}")


def select(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    spread: NDArray[np.float32] | None,
    selection: Selection,
    input_hw: tuple[int, int],
    sides: Sides | None = None,
) -> Detections:
    """Boxes (N, 4) x1 y1 x2 y2, scores (N, C), spread (N, 4) and `sides` of N points -> D detections, all in pixels of
    the network input.

    Equal scores keep the order of points, then of classes, as in the operators of an exported graph.
    """
    point, labels = select_pairs(boxes, scores, selection, input_hw)
    return Detections(
        clamp(boxes[point], input_hw),
        scores[point, labels],
        labels,
        None if spread is None else spread[point],
        None if sides is None else sides.take(point),
    )


def select_pairs(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], selection: Selection, input_hw: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Boxes (N, 4), scores (N, C) -> point (D,) and label (D,) of the detections, best first."""
    best = scores.max(axis=1)
    points = np.argsort(-best, kind="stable")[: selection.candidates]
    pair_scores = scores[points].reshape(-1)
    pairs = np.argsort(-pair_scores, kind="stable")[: selection.candidates]
    pairs = pairs[pair_scores[pairs] > selection.score]
    class_count = scores.shape[1]
    point, labels, kept_scores = points[pairs // class_count], pairs % class_count, pair_scores[pairs]
    kept = _suppress(clamp(boxes[point], input_hw), kept_scores, labels, selection.iou)[: selection.keep]
    return point[kept], labels[kept].astype(np.int64)


def clamp(boxes: NDArray[np.float32], hw: tuple[int, int]) -> NDArray[np.float32]:
    """Boxes (D, 4) x1 y1 x2 y2 -> the same, clipped to an image of this height and width."""
    height, width = hw
    return np.clip(boxes, np.float32(0), np.array([width, height, width, height], dtype=np.float32))


def to_source(detections: Detections, placement: Placement) -> Detections:
    """Detections in network-input pixels -> in pixels of the source frame, clipped to it.

    A box that is then empty is left out: it lay in the padding of a letterboxed image.
    """
    mapped = map_to_source(detections, placement)
    shown = mapped.boxes[:, 2:] > mapped.boxes[:, :2]
    return mapped.take(np.flatnonzero(shown.all(axis=1)))


def map_to_source(detections: Detections, placement: Placement) -> Detections:
    """The same, including boxes that are empty in the frame."""
    spread = None if detections.spread is None else placement.spread_to_source(detections.spread)
    sides = detections.sides
    if sides is not None:
        origin, step = placement.spread_to_source(sides.origin), placement.spread_to_source(sides.step)
        sides = Sides(sides.probabilities, origin, step)
    return Detections(placement.boxes_to_source(detections.boxes), detections.scores, detections.labels, spread, sides)


def _suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int64], iou: float
) -> NDArray[np.int64]:
    """Greedy suppression within each class -> positions to keep, in the given order; scores must not increase."""
    sides = boxes[:, 2:] - boxes[:, :2]
    # An empty box overlaps nothing; for OpenCV two of them overlap completely.
    empty = (sides <= 0).any(axis=1)
    rest = np.flatnonzero(~empty)
    if not len(rest):
        return np.flatnonzero(empty)
    corner_size = np.concatenate([boxes[rest, :2], sides[rest]], axis=1).astype(np.float64)
    # OpenCV computes exactly greedy suppression, 6 times faster than numpy for 1000 boxes.
    classes = labels[rest].astype(np.int32)
    import cv2  # here, so that configuration and losses, which need only `Selection`, do not import it

    kept = cv2.dnn.NMSBoxesBatched(corner_size, scores[rest], classes, 0.0, iou)  # type: ignore[arg-type]
    return np.sort(np.concatenate([rest[np.asarray(kept, dtype=np.int64).reshape(-1)], np.flatnonzero(empty)]))
