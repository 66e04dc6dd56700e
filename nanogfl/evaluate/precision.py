"""pycocotools' precision table of a data set, or of a part of one. No torch."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nanogfl.contract.detections import Detections
from nanogfl.data.coco import DataSet


def precision_table(
    dataset: DataSet, detections: Sequence[Detections], most: int, not_exhaustive: frozenset[int] = frozenset()
) -> NDArray[np.float64]:
    """(10 IoUs .50 to .95, 101 recalls, C, 4 areas: all, small, medium, large); -1 where no object is to be found.

    `most` detections of a class in an image count. In the images with the ids `not_exhaustive` a detection without
    an object is neither right nor wrong.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        evaluation = COCOeval(_coco(dataset, _truth(dataset)), _coco(dataset, _found(dataset, detections)), "bbox")
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        for result in evaluation.evalImgs:
            if result is not None and result["image_id"] in not_exhaustive:
                result["dtIgnore"] |= result["dtMatches"] == 0
        evaluation.accumulate()
    rising = sorted(dataset.category_ids)  # pycocotools' order of classes
    table = evaluation.eval["precision"][..., 0]
    return np.asarray(table[:, :, [rising.index(category) for category in dataset.category_ids]])


def _truth(dataset: DataSet) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image.id,
            "category_id": dataset.category_ids[label],
            "bbox": _corner_size(box),
            "area": float(area),
            "iscrowd": int(crowd),
        }
        for image in dataset.images
        for box, label, area, crowd in zip(image.boxes, image.labels, image.areas, image.crowd, strict=True)
    ]


def _found(dataset: DataSet, detections: Sequence[Detections]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image.id,
            "category_id": dataset.category_ids[label],
            "bbox": (corner_size := _corner_size(box)),
            "area": corner_size[2] * corner_size[3],
            "iscrowd": 0,
            "score": float(value),
        }
        for image, found in zip(dataset.images, detections, strict=True)
        for box, label, value in zip(found.boxes, found.labels, found.scores, strict=True)
    ]


def _corner_size(box: NDArray[np.float32]) -> list[float]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return [x1, y1, x2 - x1, y2 - y1]


def _coco(dataset: DataSet, annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image.id, "height": image.hw[0], "width": image.hw[1]} for image in dataset.images],
        "categories": [{"id": i, "name": n} for i, n in zip(dataset.category_ids, dataset.classes, strict=True)],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco
