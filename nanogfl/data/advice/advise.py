"""What to train with, from the data set's own figures: one rule for `data check` and for training a folder."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from nanogfl.config import Config, ModelConfig
from nanogfl.data.advice.flips import why_not_flip
from nanogfl.data.advice.input_size import ENOUGH, InputChoice, enough_input
from nanogfl.data.advice.repeats import Tail, long_tail
from nanogfl.data.advice.schedule import (
    BATCH,
    FEW_IMAGES,
    FROM,
    MOST_EPOCHS,
    NEEDS,
    WARMUP,
    WARMUP_PART,
    Start,
    batch_size,
    epochs,
    eval_every,
    updates_per_epoch,
    warmup_steps,
)
from nanogfl.data.arrays import DataIndex
from nanogfl.data.dataset import DataSet
from nanogfl.data.order import EpochOrder


class Advice(NamedTuple):
    """A choice for one setting."""

    key: str
    """of the config, such as train.epochs"""
    value: Any
    """a number, or a list of numbers"""
    reason: str
    """the figure that it rests on, in plain words"""

    @property
    def setting(self) -> str:
        """What follows --set: model.input.hw=[416,416]."""
        value = f"{self.value:g}" if isinstance(self.value, float) else str(self.value).replace(" ", "")
        return f"{self.key}={value}"


class Reach(Protocol):
    """What a head's bins cost: `nanogfl.loss.reach.ReachReport`, which needs torch."""

    @property
    def reg_max(self) -> int: ...
    @property
    def enough(self) -> int: ...
    @property
    def share(self) -> float: ...
    @property
    def cost(self) -> str: ...
    @property
    def matters(self) -> bool: ...


def start_of(config: Config) -> Start:
    """What the training of this recipe starts from."""
    if config.train.init_from is not None:
        return "detector"
    return "scratch" if config.model.backbone.weights is None else "backbone"


def advise(
    train: DataSet,
    val: DataSet | None = None,
    *,
    config: Config | None = None,
    start: Start = "scratch",
    given: Collection[str] = (),
    reach: Callable[[ModelConfig], Reach | None] | None = None,
) -> tuple[Advice, ...]:
    """Input size, repeats, batch, epochs, learning rate, warm-up, evaluations, reg_max and flips for a data set.

    Args:
        train: has at least one image.
        val: decides how often to evaluate.
        config: the recipe that the choices replace settings of; by default the defaults.
        start: what the training starts from (`start_of`).
        given: keys that the user has set: they stay as `config` has them, and the other choices follow from them.
        reach: measures the bins of a model on `train` (`nanogfl.training.advice`); without it reg_max is not chosen.

    A choice is made even where it equals the recipe's value, so that its reason can be shown.
    """
    config = config or Config()
    found: list[Advice] = []

    def choose(key: str, value: Any, reason: str, current: Any) -> Any:
        """The value to go on with."""
        if key in given:
            return current
        found.append(Advice(key, value, reason))
        return value

    spec, settings = config.model.input, config.train
    size = enough_input(DataIndex.of(train), spec)
    hw = choose("model.input.hw", list(size.hw), _why_input(size, spec.hw), spec.hw)
    spec = replace(spec, hw=(hw[0], hw[1]))

    repeat = config.data.repeat_threshold
    if (tail := long_tail(train)) is not None:
        repeat = choose("data.repeat_threshold", tail.threshold, _why_repeat(tail), repeat)
    shown = EpochOrder(train, seed=0, repeat_threshold=repeat).length

    batch = choose("train.batch_size", batch_size(shown, start), _why_batch(shown, start), settings.batch_size)
    settings = replace(settings, batch_size=batch)
    each = updates_per_epoch(shown, settings)
    if settings.schedule != "step":  # its milestones belong to its own number of epochs
        count = choose("train.epochs", epochs(each, start), _why_epochs(each, start), settings.epochs)
        settings = replace(settings, epochs=count)
    total = settings.epochs * each
    if (warmup := warmup_steps(total)) < WARMUP:
        why = f"the run has {total:,} updates, of which at most one in {WARMUP_PART} warms up"
        choose("train.warmup_steps", warmup, why, settings.warmup_steps)
    if settings.optimizer == "adamw":
        choose("train.lr", NEEDS[start].lr, _STARTS[start], settings.lr)
    every = eval_every(settings.epochs, shown, len(val.images) if val is not None else 0)
    evaluations = -(-settings.epochs // every)
    choose("train.eval_every", every, f"{evaluations} evaluation{'s' * (evaluations != 1)} in all", settings.eval_every)

    measured = reach(replace(config.model, input=spec)) if reach is not None else None
    if measured is not None:
        choose("model.head.reg_max", *_reg_max(measured, start), measured.reg_max)
    if (why_not := why_not_flip(train.classes)) is not None:
        choose("augment.flip", 0.0, why_not, config.augment.flip)
    return tuple(found)


_STARTS: dict[Start, str] = {
    "scratch": "from scratch: .001 brought .1 AP less after 28 epochs of 292 images",
    "backbone": "the neck and the head start from scratch",
    "detector": "from a trained detector: .004 brought no more on 292 images",
}


def _why_input(size: InputChoice, hw: tuple[int, int]) -> str:
    if not size.median:
        return "no object was measured"
    median = f"half of the objects are smaller than {size.median:.0f} x {size.median:.0f} px at {hw[1]} x {hw[0]}"
    if size.hw == hw:
        return median + (", and the images hold no more pixels" if size.median < ENOUGH and not size.held else "")
    return f"{median}; training and detecting take {size.time:.1f} times as long"


def _why_repeat(tail: Tail) -> str:
    most = int(tail.images[tail.rare].max())
    return f"{len(tail.rare)} classes lie in {most} images or fewer, the commonest in {tail.images.max()}"


def _why_batch(shown: int, start: Start) -> str:
    fewer = shown < FEW_IMAGES[start]
    return f"an epoch has {shown} images, {'fewer than' if fewer else 'at least'} {FEW_IMAGES[start]}" + (
        f": more updates than with {BATCH}" if fewer else ""
    )


def _why_epochs(each: int, start: Start) -> str:
    need, count = NEEDS[start], epochs(each, start)
    wanted = f"at least {need.updates:,} updates and {need.epochs} epochs {FROM[start]}"
    return f"{each * count:,} updates, {each} per epoch: {wanted}" + (
        f", at most {MOST_EPOCHS} epochs" if count == MOST_EPOCHS else ""
    )


def _reg_max(reach: Reach, start: Start) -> tuple[int, str]:
    cost = f"{reach.share:.1%} of the box sides are longer than reg_max {reach.reg_max} reaches, {reach.cost}"
    if not reach.matters:
        return reach.reg_max, cost
    if start == "detector":
        return reach.reg_max, f"{cost}; with {reach.enough} the start's box sides would be lost"
    return reach.enough, cost
