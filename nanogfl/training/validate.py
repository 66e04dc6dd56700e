"""AP during a training, in batches of cached network inputs."""

import time
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections, to_source
from nanogfl.contract.input_spec import place
from nanogfl.data.cache.frames import Frames, read_checked
from nanogfl.data.dataset import DataSet
from nanogfl.evaluation.coco_ap import Report, score
from nanogfl.evaluation.lvis_ap import MOST_DETECTIONS
from nanogfl.model.predictor import Predictor
from nanogfl.training.distributed.ranks import Ranks

BATCH = 16


def validate(
    predictor: Predictor, dataset: DataSet, frames: Frames, ranks: Ranks | None = None, *, most: int = 0
) -> Report:
    """The same report as `evaluate`, from frames cached at the input's size, or from the files. `most` (0: no limit):
    in at most so many images, spread evenly over the set.

    Each of several processes detects in its share of the batches. Rank 0 scores, and all get its report.
    """
    ranks = ranks or Ranks()
    if dataset.federated is not None:
        predictor = predictor.keeping(MOST_DETECTIONS)
    slot_of = frames.slot_of
    if 0 < most < len(dataset.images):
        chosen = np.arange(most) * len(dataset.images) // most
        dataset = replace(dataset, images=tuple(dataset.images[index] for index in chosen))
        slot_of = slot_of[chosen]
    start = time.perf_counter()
    own = range(BATCH * ranks.place.rank, len(dataset.images), BATCH * ranks.place.world)
    batches = [(first, list(_detect(predictor, dataset, frames, slot_of, first))) for first in own]
    ranks.meet("the end of its share of the validation images")
    shares = ranks.collect(batches)
    seconds = time.perf_counter() - start
    report: Report | None = None
    if ranks.first:
        in_order = sorted((batch for share in shares for batch in share), key=itemgetter(0))
        report = score(dataset, [found for _, batch in in_order for found in batch], seconds)
    ranks.meet("the scores of the validation")
    report = ranks.of_first(report)
    assert report is not None
    return report


def _detect(
    predictor: Predictor, dataset: DataSet, frames: Frames, slot_of: NDArray[np.int64], first: int
) -> Iterator[Detections]:
    """Detections in BATCH images from number `first` on, in source pixels. `slot_of`: (n,) the slot of each image."""
    images = dataset.images[first : first + BATCH]
    if frames.slots is None:
        for image in images:
            yield predictor(read_checked(image))
    else:
        # a slot holds what contract.preprocess makes of the image, padding included
        inputs = np.stack([frames.slots[slot] for slot in slot_of[first : first + len(images)]])
        for image, raw in zip(images, predictor.raw_batch(inputs), strict=True):
            yield to_source(predictor.select(raw), place(image.hw, predictor.config.input))
