"""Federated AP: what LVIS's own evaluation gives (arXiv:1908.03195), by pycocotools. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections
from nanogfl.data.coco import DataSet, ImageRecord
from nanogfl.data.federated import Federated
from nanogfl.evaluate.precision import precision_table

MOST_DETECTIONS = 300
"""that count in an image, of all classes together"""


@dataclass
class _Verified:
    """The images in which one class is verified, its objects and detections there; all of them with label 0."""

    images: list[ImageRecord] = field(default_factory=list)
    found: list[Detections] = field(default_factory=list)
    not_exhaustive: set[int] = field(default_factory=set)


def federated_precision(
    dataset: DataSet, federated: Federated, detections: Sequence[Detections]
) -> NDArray[np.float64]:
    """`precision_table` with every class measured over the images alone in which it is verified.

    As the LVIS API (0.5.3) does it: first an image keeps its 300 best detections, whatever their classes, equal scores
    in the order given; then empty boxes go, and those of classes that the image does not verify; a detection without
    an object is no false alarm where its class is not exhaustively annotated. Matching, areas and recalls are COCO's.
    """
    parts = [_Verified() for _ in dataset.classes]
    for image, found in zip(dataset.images, detections, strict=True):
        found = found.take(np.argsort(-found.scores, kind="stable")[:MOST_DETECTIONS])
        found = found.take(np.flatnonzero((found.boxes[:, 2:] > found.boxes[:, :2]).all(axis=1)))
        for label in federated.negative[image.id].union(image.labels.tolist()):
            part = parts[label]
            part.images.append(_of_class(image, label))
            part.found.append(_detected(found, label))
            if label in federated.not_exhaustive[image.id]:
                part.not_exhaustive.add(image.id)
    return np.concatenate(
        [_class_precision(dataset, label, part) for label, part in enumerate(parts)], axis=2, dtype=np.float64
    )


def _class_precision(dataset: DataSet, label: int, part: _Verified) -> NDArray[np.float64]:
    """(10, 101, 1, 4); a class that no image verifies has -1 everywhere, as one without an object has."""
    alone = DataSet(
        dataset.name,
        dataset.classes[label : label + 1],
        dataset.category_ids[label : label + 1],
        tuple(part.images),
        (),
    )
    return precision_table(alone, part.found, MOST_DETECTIONS, frozenset(part.not_exhaustive))


def _of_class(image: ImageRecord, label: int) -> ImageRecord:
    index = np.flatnonzero(image.labels == label)
    return replace(
        image,
        boxes=image.boxes[index],
        labels=np.zeros_like(index),
        areas=image.areas[index],
        crowd=image.crowd[index],
    )


def _detected(found: Detections, label: int) -> Detections:
    index = np.flatnonzero(found.labels == label)
    return Detections(found.boxes[index], found.scores[index], np.zeros_like(index))
