"""pycocotools' precision table, one class at a time and from arrays, without a record per detection. No torch."""

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

from nanogfl.contract.detections import Detections
from nanogfl.data.dataset import DataSet


class ClassImage(NamedTuple):
    """The objects and detections of one class in one image. Boxes: float32 x1 y1 x2 y2."""

    boxes: NDArray[np.float32]
    """(G, 4)"""
    areas: NDArray[np.float32]
    """(G,)"""
    crowd: NDArray[np.bool_]
    """(G,)"""
    found: NDArray[np.float32]
    """(D, 4)"""
    scores: NDArray[np.float32]
    """(D,)"""
    exhaustive: bool = True
    """False: a detection without an object counts neither as right nor as wrong"""


def precision_table(dataset: DataSet, detections: Sequence[Detections], most: int) -> NDArray[np.float64]:
    """(10, 101, C, 4): precision by IoU .50 to .95, recall, class and area (all, small, medium, large).

    -1 where there is no object to find. At most `most` detections per class and image count.
    """
    order = sorted(range(len(dataset.images)), key=lambda row: dataset.images[row].id)  # pycocotools' order
    images, found = [dataset.images[row] for row in order], [detections[row] for row in order]
    truth = _ByClass([image.labels for image in images])
    answer = _ByClass([entry.labels for entry in found])
    boxes, areas, crowd = (
        np.concatenate([getattr(image, name) for image in images]) for name in ("boxes", "areas", "crowd")
    )
    found_boxes, scores = (np.concatenate([getattr(entry, name) for entry in found]) for name in ("boxes", "scores"))

    def of_class(label: int) -> Iterator[ClassImage]:
        objects, rows = truth.rows(label), answer.rows(label)
        for image in sorted(objects.keys() | rows.keys()):
            true, seen = objects.get(image, _NONE), rows.get(image, _NONE)
            yield ClassImage(boxes[true], areas[true], crowd[true], found_boxes[seen], scores[seen])

    tables = [class_precision(of_class(label), most) for label in range(len(dataset.classes))]
    return np.stack(tables, axis=2)


_NONE = np.zeros(0, dtype=np.int64)


class _ByClass:
    """Finds the rows of a class among labels that are sorted by image."""

    def __init__(self, labels: Sequence[NDArray[np.int64]]) -> None:
        self._image_of = np.repeat(np.arange(len(labels)), [len(part) for part in labels])
        joined = np.concatenate(labels)
        self._order = np.argsort(joined, kind="stable")
        self._sorted = joined[self._order]

    def rows(self, label: int) -> dict[int, NDArray[np.int64]]:
        """The rows of this class by image, in their order."""
        first, last = np.searchsorted(self._sorted, [label, label + 1])
        rows = self._order[first:last]
        images, starts = np.unique(self._image_of[rows], return_index=True)
        return dict(zip(images.tolist(), np.split(rows, starts[1:]), strict=True)) if len(rows) else {}


def class_precision(images: Iterable[ClassImage], most: int) -> NDArray[np.float64]:
    """(10, 101, 4): precision of one class by IoU, recall and area.

    The images come in the order of their ids; those without the class may be left out. COCOeval matches and
    accumulates; of each image only what it reads again is kept, as arrays.
    """
    evaluation = COCOeval(iouType="bbox")
    params = evaluation.params
    params.catIds, params.maxDets = [_CLASS], [most]
    kept = [_results(evaluation, image, most) for image in images if len(image.boxes) or len(image.found)]
    params.imgIds = list(range(len(kept)))
    evaluation.evalImgs = [results[area] for area in range(len(params.areaRng)) for results in kept]
    evaluation._paramsEval = params
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"][:, :, 0, :, 0])


_CLASS, _IMAGE = 1, 1
"""COCOeval's ids of the one class and of the image that is matched"""


def _results(evaluation: COCOeval, image: ClassImage, most: int) -> list[dict[str, Any]]:
    """What `accumulate` reads of `evaluateImg`'s result, per range of areas."""
    ranges = evaluation.params.areaRng
    if not len(image.boxes):  # most of all pairs of an image and a class: nothing is to be matched
        best = np.argsort(-image.scores, kind="stable")[:most]
        sides = image.found[best].astype(np.float64)
        area = (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])
        least, largest = np.array(ranges, dtype=np.float64).T[..., None]
        matches = np.zeros((len(evaluation.params.iouThrs), len(best)), dtype=np.bool_)
        scores = image.scores[best].astype(np.float64)
        outside = (area < least) | (area > largest)
        return [_result(image, matches, matches | each, scores, np.zeros(0)) for each in outside]
    evaluation._gts, evaluation._dts = {(_IMAGE, _CLASS): _truth(image)}, {(_IMAGE, _CLASS): _found(image)}
    evaluation.ious = {(_IMAGE, _CLASS): evaluation.computeIoU(_IMAGE, _CLASS)}
    found = [evaluation.evaluateImg(_IMAGE, _CLASS, area, most) for area in ranges]
    scores = np.array(found[0]["dtScores"])
    return [_result(image, each["dtMatches"] > 0, each["dtIgnore"], scores, each["gtIgnore"]) for each in found]


def _result(
    image: ClassImage,
    matches: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
    scores: NDArray[np.float64],
    objects_ignored: NDArray[Any],
) -> dict[str, Any]:
    if not image.exhaustive:
        ignored = ignored | ~matches
    return {"dtMatches": matches, "dtIgnore": ignored, "dtScores": scores, "gtIgnore": objects_ignored}


def _truth(image: ClassImage) -> list[dict[str, Any]]:
    return [
        {"id": number, "bbox": bbox, "area": area, "iscrowd": crowd, "ignore": crowd}
        for number, (bbox, area, crowd) in enumerate(
            zip(_corner_size(image.boxes), image.areas.tolist(), image.crowd.tolist(), strict=True), start=1
        )
    ]


def _found(image: ClassImage) -> list[dict[str, Any]]:
    return [
        {"id": number, "bbox": bbox, "area": bbox[2] * bbox[3], "score": score}
        for number, (bbox, score) in enumerate(
            zip(_corner_size(image.found), image.scores.tolist(), strict=True), start=1
        )
    ]


def _corner_size(boxes: NDArray[np.float32]) -> list[list[float]]:
    exact = boxes.astype(np.float64)
    rows: list[list[float]] = np.concatenate([exact[:, :2], exact[:, 2:] - exact[:, :2]], axis=1).tolist()
    return rows
