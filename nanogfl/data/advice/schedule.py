"""How long to train, from the number of images and from where the training starts.

What a detector needs is a number of updates rather than of epochs: 100 epochs of 160 images are 1,000 updates, 100
epochs of 8,000 are 50,000. Measured at 320 x 320 with batches of 16 (docs/results.md): from a COCO detector 292 and 296
images reach after 180 updates what 1,300 to 2,200 bring from scratch, and less than two thirds of it after 54; from
scratch AP still rises from 800 to 2,200 updates.

train.ema_decay needs no choice: the average spans the last ninth of all updates, until that is more than .998 spans
(training/optim.py: after 4,491 updates). The cosine always ends with the last update.
"""

import math
from typing import Literal, NamedTuple

from nanogfl.config import TrainConfig

Start = Literal["scratch", "backbone", "detector"]
"""what the training starts from: nothing, trained weights of the backbone alone, or those of a whole detector"""
FROM: dict[Start, str] = {"scratch": "from scratch", "backbone": "from a backbone", "detector": "from a detector"}
"""in words"""


class Need(NamedTuple):
    updates: int
    """at least so many in all"""
    epochs: int
    """at least so many, however many updates they have"""
    lr: float
    """peak learning rate of AdamW"""


NEEDS: dict[Start, Need] = {
    "scratch": Need(4000, 50, 4e-3),
    "backbone": Need(1000, 25, 4e-3),
    "detector": Need(400, 10, 1e-3),
}
MOST_EPOCHS = 500
"""of a handful of images: more would learn them by heart"""
FEW_IMAGES: dict[Start, int] = {"scratch": 500, "backbone": 128, "detector": 128}
"""with fewer, SMALL_BATCH. From scratch it brought .02 to .05 AP in equal time on 292 images; from weights it is where
batches of 16 leave fewer than 8 updates per epoch"""
SMALL_BATCH, BATCH = 8, 16
WARMUP = 100
WARMUP_PART = 5
"""a warm-up takes at most one part in so many"""
EVALUATIONS = 10
"""in all, so that the best weights are found and the time goes into training"""
_EVALUATION_COST = 1 / 3
"""of an image, relative to training on one: the forward pass takes .25 to .27 of a step; then boxes are matched"""
_EVALUATION_SHARE = 0.1
"""of the training's time that evaluations may take"""


def batch_size(images: int, start: Start) -> int:
    """Images per update for an epoch of this many images."""
    return min(images, SMALL_BATCH if images < FEW_IMAGES[start] else BATCH)


def updates_per_epoch(images: int, train: TrainConfig) -> int:
    """Updates of an epoch that shows this many images; the last, partial batch is left out."""
    steps = images // min(images, train.batch_size)
    return math.ceil(steps / train.accumulate)


def epochs(updates: int, start: Start) -> int:
    """Epochs for a training with so many updates per epoch."""
    need = NEEDS[start]
    return max(need.epochs, min(MOST_EPOCHS, math.ceil(need.updates / updates)))


def warmup_steps(updates: int) -> int:
    """Updates of warm-up in a training of so many."""
    return min(WARMUP, updates // WARMUP_PART)


def eval_every(epochs: int, train_images: int, val_images: int) -> int:
    """Epochs between evaluations."""
    affordable = _EVALUATION_SHARE * epochs * train_images / max(1.0, _EVALUATION_COST * val_images)
    return max(1, math.ceil(epochs / min(EVALUATIONS, max(1.0, affordable))))
