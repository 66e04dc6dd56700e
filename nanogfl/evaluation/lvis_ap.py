"""Federated AP as LVIS's own evaluation computes it (arXiv:1908.03195), by pycocotools. Imports no torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections
from nanogfl.data.dataset import DataSet, Federated, ImageRecord
from nanogfl.evaluation.precision import ClassImage, class_precision

MOST_DETECTIONS = 300
"""that count per image, of all classes together"""


def federated_precision(
    dataset: DataSet, federated: Federated, detections: Sequence[Detections]
) -> NDArray[np.float64]:
    """(10, 101, C, 4) as `precision_table`, each class measured only in the images that verify it.

    Like the LVIS API (0.5.3): an image first keeps its 300 best detections of all classes, equal scores in the order
    given; then empty boxes go, and boxes of classes that the image does not verify. A detection without an object is
    no false alarm where its class is not exhaustively annotated. Matching, areas and recalls are COCO's.
    """
    verified: list[list[ClassImage]] = [[] for _ in dataset.classes]
    for image, found in sorted(zip(dataset.images, detections, strict=True), key=lambda pair: pair[0].id):
        found = found.take(np.argsort(-found.scores, kind="stable")[:MOST_DETECTIONS])
        found = found.take(np.flatnonzero((found.boxes[:, 2:] > found.boxes[:, :2]).all(axis=1)))
        for label in federated.negative[image.id].union(image.labels.tolist()):
            exhaustive = label not in federated.not_exhaustive[image.id]
            verified[label].append(_of_class(image, found, label, exhaustive))
    return np.stack([class_precision(images, MOST_DETECTIONS) for images in verified], axis=2)


def _of_class(image: ImageRecord, found: Detections, label: int, exhaustive: bool) -> ClassImage:
    true, seen = np.flatnonzero(image.labels == label), np.flatnonzero(found.labels == label)
    return ClassImage(
        image.boxes[true], image.areas[true], image.crowd[true], found.boxes[seen], found.scores[seen], exhaustive
    )
