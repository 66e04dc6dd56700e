"""The plan of a run with train.minutes: the settings that make it end in time. Arithmetic alone, and no clock."""

import math
from dataclasses import replace
from typing import NamedTuple

from nanogfl.config import Config, TrainConfig
from nanogfl.errors import UserError
from nanogfl.training.optim import warmup_updates

LEAST_UPDATES = 20
"""of a run: with fewer the learning rate neither rises nor falls in steps that are worth the name"""
ENOUGH_EPOCHS, MOST_EPOCHS = 20, 1000
"""of a run with enough updates. The end of an epoch is where it can be evaluated and planned again"""
FEWEST_EPOCHS, SAVING = 10, 0.03
"""from so many epochs on, their ends, where the run is saved, take at most this share of the training"""
MOST_EVALUATIONS, EVALUATING = 10, 0.1
"""evaluations of a run, and the share of its time that all together may take where that is more than one"""
LAST_EVALUATION, FEWEST_IMAGES = 0.25, 100
"""share of the time that the only evaluation may take, before it takes part of the images, and the least of these"""
REPLANS = (0.4, 0.8)
"""places in the schedule after which a run is planned again, at the end of an epoch"""
TOLERATED = 0.02
"""of the time asked for: a run that would miss its end by less is not planned again"""


class Costs(NamedTuple):
    """Seconds, measured at the start."""

    batch: float
    """per training batch, with its share of an update"""
    image: float
    """per validation image: detection and AP"""
    pictures: float
    """after each evaluation"""
    ending: float
    """of an epoch: saving"""


def plan(config: Config, costs: Costs, *, spent: float, reserve: float, pass_batches: int, images: int) -> Config:
    """The config with epochs, epoch_batches, eval_every and eval_images for a run of train.minutes.

    spent: seconds of it so far. reserve: seconds that are needed after the training. pass_batches: batches of a pass
    over the training set. images: of the validation set.

    Raises UserError, which names the least, where the time does not suffice.
    """
    train = config.train
    left = 60 * train.minutes - spent - reserve
    update = train.accumulate * costs.batch
    training_least = LEAST_UPDATES * update + FEWEST_EPOCHS * costs.ending
    evaluation_least = min(images, FEWEST_IMAGES) * costs.image + costs.pictures
    if left < training_least + evaluation_least:
        least = spent + reserve + training_least + evaluation_least
        raise UserError(
            f"train.minutes {train.minutes:g} is too short here: the start took {spent:.1f} s, {LEAST_UPDATES} updates"
            f" in {FEWEST_EPOCHS} epochs take {training_least:.1f} s, an evaluation {evaluation_least:.1f} s"
            f"{f' and what follows {reserve:.1f} s' if reserve else ''}: give at least {math.ceil(least / 6) / 10:g}"
        )
    whole = images * costs.image + costs.pictures
    evaluation = min(whole, max(evaluation_least, min(LAST_EVALUATION * left, left - training_least)))
    evaluations = min(MOST_EVALUATIONS, int(EVALUATING * left / evaluation), int((left - training_least) / evaluation))
    evaluations = max(1, evaluations)
    epochs, batches = _split(left - evaluations * evaluation, costs, pass_batches, train.accumulate)
    planned = replace(
        train,
        epochs=epochs,
        epoch_batches=0 if batches == pass_batches else batches,
        eval_every=math.ceil(epochs / evaluations),
        eval_images=0 if evaluation == whole else max(1, int((evaluation - costs.pictures) / costs.image)),
        pace=(),
    )
    loss = config.loss
    if loss.assist:
        loss = replace(loss, assist_detach_epochs=round(loss.assist_detach_epochs * epochs / train.epochs))
    return replace(config, train=planned, loss=loss)


def _split(seconds: float, costs: Costs, pass_batches: int, accumulate: int) -> tuple[int, int]:
    """(epochs, batches of an epoch) that take `seconds` or a little less.

    An epoch is a pass over the training set where that gives enough epochs and saving them takes little. Otherwise a
    run has few updates, and an epoch is part of a pass, or the set is tiny, and an epoch has several passes.
    """
    total = seconds / costs.batch
    most = seconds * SAVING / costs.ending if costs.ending else MOST_EPOCHS
    most = round(min(MOST_EPOCHS, max(FEWEST_EPOCHS, most)))
    passes = round(seconds / (pass_batches * costs.batch + costs.ending))
    if 0.5 / TOLERATED <= passes <= most:  # rounding misses the end by less than what is tolerated
        return passes, pass_batches
    wanted = min(most, max(ENOUGH_EPOCHS, math.ceil(total / pass_batches)))
    wanted = max(1, min(wanted, int(seconds / (accumulate * costs.batch + costs.ending))))

    def batches(epochs: int) -> int:
        whole = int((seconds / epochs - costs.ending) / costs.batch + 1e-9)
        return whole - whole % accumulate  # an epoch's last update has as many images as the others

    def used(epochs: int) -> float:
        return epochs * (batches(epochs) * costs.batch + costs.ending) if batches(epochs) else 0.0

    # around that number, the one that leaves the least time over
    high = max(wanted, min(4 * wanted // 3, most))
    epochs = max(range(max(1, 2 * wanted // 3), high + 1), key=used)
    return epochs, max(1, batches(epochs))


def describe(config: Config, costs: Costs, *, batch_size: int, pass_batches: int, images: int) -> str:
    """The plan in one line, for people."""
    train = config.train
    batches = train.epoch_batches or pass_batches
    updates = math.ceil(batches / train.accumulate)
    share = batches / pass_batches
    passes = f"{100 * share:.0f} % of a pass" if share < 1 else f"{share:.1f} passes"
    passes = f" ({passes} over the training set each)" if train.epoch_batches else ""
    shown = train.eval_images or images
    part = f" in {shown} of {images} validation images" if train.eval_images else ""
    seconds = shown * costs.image + costs.pictures
    warmup = warmup_updates(train.epochs * updates, train)
    return (
        f"{train.minutes:g} minute{'s' * (train.minutes != 1)}: {train.epochs} epochs of {updates} updates{passes} at"
        f" {batch_size / costs.batch:.1f} images/s, {warmup} of them warm-up, an evaluation every"
        f" {train.eval_every} epochs{part} ({seconds:.1f} s each)"
    )


def is_due(train: TrainConfig, done: int) -> bool:
    """Whether the run is to be planned again after `done` epochs. Each of REPLANS is passed once."""
    before, length = train.walked(done - 1)
    after, _ = train.walked(done)
    return done < train.epochs and any(before < place * length <= after for place in REPLANS)


def plan_again(config: Config, done: int, *, left: float, epoch: float, evaluation: float) -> Config:
    """The config with as many epochs as end in `left` seconds, `done` of them before; `config` itself where that is
    less than TOLERATED off.

    epoch, evaluation: seconds of one, without and with its pictures. The schedule goes on from where it stands and is
    walked to its end in the remaining epochs. A run with one evaluation keeps it for its last epoch.
    """
    train = config.train
    once = train.eval_every >= train.epochs

    def missed(epochs: int) -> float:
        """Seconds."""
        every = epochs if once else train.eval_every
        evaluations = epochs // every - done // every + bool(epochs % every)
        return abs((epochs - done) * epoch + evaluations * evaluation - left)

    if missed(train.epochs) <= TOLERATED * 60 * train.minutes:
        return config
    best = min(range(done + 1, done + 2 + int(max(0.0, left) / epoch)), key=missed)
    if best == train.epochs:
        return config
    pace, every = (*train.pace, (done, train.epochs)), best if once else train.eval_every
    return replace(config, train=replace(train, epochs=best, eval_every=every, pace=pace))
