"""AP during a training: whole batches of cached network inputs instead of one decoded picture at a time."""

import time
from collections.abc import Iterator

import numpy as np

from nanogfl.contract.detections import Detections, to_source
from nanogfl.contract.preprocess import place
from nanogfl.data.cache import Frames
from nanogfl.data.coco import DataSet
from nanogfl.evaluate.coco_ap import Report, evaluate, score
from nanogfl.evaluate.lvis_ap import MOST_DETECTIONS
from nanogfl.model.predictor import Predictor

BATCH = 16


def validate(predictor: Predictor, dataset: DataSet, frames: Frames) -> Report:
    """What `evaluate` gives, from frames cached at the input's own size; with the cache off, `evaluate` itself."""
    if dataset.federated is not None:
        predictor = predictor.keeping(MOST_DETECTIONS)
    if frames.slots is None:
        return evaluate(predictor, dataset)
    start = time.perf_counter()
    detections = list(_detect_all(predictor, dataset, frames))
    return score(dataset, detections, time.perf_counter() - start)


def _detect_all(predictor: Predictor, dataset: DataSet, frames: Frames) -> Iterator[Detections]:
    assert frames.slots is not None
    for first in range(0, len(dataset.images), BATCH):
        images = dataset.images[first : first + BATCH]
        # a slot holds what contract.preprocess makes of the image, padding included
        inputs = np.stack([frames.slots[slot] for slot in frames.slot_of[first : first + len(images)]])
        for image, raw in zip(images, predictor.raw_batch(inputs), strict=True):
            yield to_source(predictor.select(raw), place(image.hw, predictor.config.input))
