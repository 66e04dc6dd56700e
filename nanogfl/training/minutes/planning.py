"""Planning a run with train.minutes: at its start, and where it would miss its end."""

import math
from dataclasses import replace
from typing import Any

from nanogfl.config import Config
from nanogfl.data.loader import Loader
from nanogfl.training.checkpointing.state import RunState
from nanogfl.training.minutes.budget import Budget
from nanogfl.training.minutes.measure import measure
from nanogfl.training.minutes.plan import describe, plan, plan_again
from nanogfl.training.reports.progress import Progress
from nanogfl.training.start.freeze import FrozenParts


def plan_run(state: RunState, frozen: FrozenParts, loader: Loader, progress: Progress, budget: Budget) -> None:
    """Decides the epochs of a run with train.minutes. Raises UserError, in every rank, where the time is too short."""
    progress.say("measuring what a step, an evaluation and a save take (train.minutes)")
    images, pass_batches = len(state.data.val.images), loader.pass_steps
    loader.config = replace(state.config, train=replace(state.config.train, epoch_batches=0, pace=()))
    costs = measure(state, frozen, loader, budget.seconds)
    spent, reserve = state.ranks.of_first((budget.spent(), budget.reserve))
    config = plan(state.config, costs, spent=spent, reserve=reserve, pass_batches=pass_batches, images=images)
    budget.evaluation = (config.train.eval_images or images) * costs.image
    budget.pictures, budget.ending = costs.pictures, costs.ending
    _follow(config, state, loader, progress)
    progress.say(
        describe(config, costs, batch_size=loader.batch_size, pass_batches=pass_batches, images=images)
        + "; the same run without a clock: its config.yaml with train.minutes=0"
    )


def plan_rest(
    state: RunState, loader: Loader, progress: Progress, budget: Budget, entry: dict[str, Any], evaluated: bool
) -> None:
    """Plans the epochs after that of the log's new `entry` by what the newest took, so that the run still ends in
    time: the machine may have got other work. The end of the epoch saves the new plan."""
    done, recent = entry["epoch"], [*state.log, entry]
    seconds = [one["seconds"] for one in recent[-math.ceil(len(recent) / 4) :]]
    config = plan_again(
        state.config,
        done,
        left=budget.left() - budget.ending - evaluated * budget.pictures,
        epoch=sum(seconds) / len(seconds) + budget.ending,
        evaluation=budget.evaluation + budget.pictures,
    )
    config = state.ranks.of_first(config)
    if config != state.config:
        before = state.config.train.epochs
        _follow(config, state, loader, progress)
        progress.say(
            f"planned again after epoch {done}: {config.train.epochs} epochs instead of {before}, to end in"
            " time (train.pace)"
        )


def _follow(config: Config, state: RunState, loader: Loader, progress: Progress) -> None:
    """Goes on by another schedule."""
    state.config = loader.config = config
    state.batches, progress.epochs = loader.steps, config.train.epochs
