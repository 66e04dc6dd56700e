"""Pascal VOC's average precision at IoU .50, by the rules of its development kit. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections
from nanogfl.contract.overlap import overlap
from nanogfl.data.dataset import DataSet

_IOU = 0.5


@dataclass(frozen=True)
class VocClass:
    """The figures of one class, 0 to 1; None where no object counts."""

    name: str
    ap50_area: float | None
    ap50_11_points: float | None


@dataclass(frozen=True)
class VocReport:
    """Means over the classes that have objects; None: no class has any."""

    ap50_area: float | None
    """area under the precision-recall curve (VOC 2010 and later)"""
    ap50_11_points: float | None
    """mean of the precisions at recall 0, .1, ..., 1 (VOC 2007)"""
    classes: tuple[VocClass, ...]


def voc_report(dataset: DataSet, detections: Sequence[Detections]) -> VocReport:
    """Scores detections in source pixels, one entry per image of the data set, in its order.

    A detection belongs to the object of its class that it overlaps most. It is right where the IoU is at least .50 and
    no detection with a higher score took that object before; another one is wrong. Crowd regions, which are VOC's
    difficult objects, are not to be found, and a detection of one counts neither as right nor as wrong.
    """
    classes = []
    for label, name in enumerate(dataset.classes):
        objects, scores, right = _matches(dataset, detections, label)
        if not objects:
            classes.append(VocClass(name, None, None))
            continue
        order = np.argsort(-scores, kind="stable")
        hits = np.cumsum(right[order], dtype=np.int64)
        precision = hits / np.arange(1, len(hits) + 1)
        classes.append(VocClass(name, _area(hits, objects, precision), _eleven_points(hits, objects, precision)))
    return VocReport(
        _mean([entry.ap50_area for entry in classes]),
        _mean([entry.ap50_11_points for entry in classes]),
        tuple(classes),
    )


def format_voc(report: VocReport) -> str:
    """One line for people."""
    area, points = ("n/a" if value is None else f"{value:.3f}" for value in (report.ap50_area, report.ap50_11_points))
    return f"VOC: AP50 {area} by area, {points} by 11 points, difficult objects passed over"


def _matches(
    dataset: DataSet, detections: Sequence[Detections], label: int
) -> tuple[int, NDArray[np.float32], NDArray[np.bool_]]:
    """The number of objects, and the scores (K,) and correctness (K,) of the detections that count, image by image."""
    objects, scores, right = 0, [np.zeros(0, np.float32)], [np.zeros(0, np.bool_)]
    for image, found in zip(dataset.images, detections, strict=True):
        true = image.labels == label
        objects += int((true & ~image.crowd).sum())
        of_class = found.take(found.labels == label)
        of_class = of_class.take(np.argsort(-of_class.scores, kind="stable"))
        if not len(of_class):
            continue
        correct, counts = _matched(of_class.boxes, image.boxes[true], image.crowd[true])
        scores.append(of_class.scores[counts])
        right.append(correct[counts])
    return objects, np.concatenate(scores), np.concatenate(right)


def _matched(
    found: NDArray[np.float32], boxes: NDArray[np.float32], difficult: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of `found` (D, 4), best first, are right (D,), and which count (D,)."""
    right, counts = np.zeros(len(found), np.bool_), np.ones(len(found), np.bool_)
    if not len(boxes):
        return right, counts
    iou: NDArray[Any] = overlap(found[:, None].astype(np.float64), boxes[None].astype(np.float64)).iou
    best = iou.argmax(axis=1)
    near = iou.max(axis=1) >= _IOU
    counts = ~(near & difficult[best])
    candidates = np.flatnonzero(near & counts)
    _, first = np.unique(best[candidates], return_index=True)  # the earliest detection of each object
    right[candidates[first]] = True
    return right, counts


def _area(hits: NDArray[np.int64], objects: int, precision: NDArray[np.float64]) -> float:
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(hits, prepend=0) * envelope).sum() / objects)


def _eleven_points(hits: NDArray[np.int64], objects: int, precision: NDArray[np.float64]) -> float:
    reached = [precision[10 * hits >= tenth * objects] for tenth in range(11)]  # exact: .3 has no float
    return float(np.mean([part.max() if len(part) else 0 for part in reached]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
