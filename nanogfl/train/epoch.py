"""The steps of an epoch, from wherever it was left."""

import math
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from nanogfl.data.loader import Batch, Loader
from nanogfl.errors import UserError
from nanogfl.loss.criterion import Losses
from nanogfl.train.checkpointing.state import RunState
from nanogfl.train.interrupt import Interrupt
from nanogfl.train.optim import learning_rate
from nanogfl.train.reports.diagnose import BAD_ARRAYS, BAD_PICTURE, first_bad_tensor, save_batch, stage
from nanogfl.train.reports.progress import Progress

READ_EVERY = 10  # steps between reads of the loss: a read waits for the device
LOGGED = ("loss", *Losses._fields[1:])  # the log calls the total the loss


def run_epoch(
    state: RunState, loader: Loader, batches: Iterator[Batch], progress: Progress, interrupt: Interrupt
) -> dict[str, Any]:
    """The rest of the unfinished epoch -> the log's entry, which is of the whole.

    Saves the state when it is due, and before it raises Interrupted.
    """
    config, step, epoch = loader.config, state.step, state.epochs_done
    train, groups = config.train, math.ceil(loader.steps / config.train.accumulate)
    detach_guide = epoch >= config.loss.assist_detach_epochs
    started, loader.waited = time.perf_counter() - state.seconds, state.waited
    if not state.batches_done:
        step.sums.zero_()
    for batch in islice(batches, loader.steps - state.batches_done):
        # every group has `accumulate` batches but for the epoch's last, which has what is left
        group, within = divmod(state.batches_done, train.accumulate)
        size = min(train.accumulate, loader.steps - group * train.accumulate)
        done = epoch * loader.steps + state.batches_done
        rate = learning_rate(epoch * groups + group, train.epochs * groups, train)
        step.accumulate(batch, done, detach_guide=detach_guide, share=1 / size)
        if within + 1 == size:
            for parameters in step.optimizer.param_groups:
                parameters["lr"] = rate
            step.update(done)
        state.batches_done += 1
        state.seconds, state.waited = time.perf_counter() - started, loader.waited
        if state.batches_done % READ_EVERY == 0 or state.batches_done == loader.steps:
            progress.step(epoch, state.batches_done, loader, _means(state, loader), rate, started)
        if within + 1 == size and state.batches_done < loader.steps:
            due = interrupt.agree(state.ranks, due=state.due())
            if interrupt.asked or due:
                _means(state, loader)  # what is no longer finite is not worth saving
                state.save()
                interrupt.check()
    return {
        "epoch": epoch + 1,
        "step": (epoch + 1) * loader.steps,
        "lr": learning_rate((epoch + 1) * groups - 1, train.epochs * groups, train),
        **_means(state, loader),
        "images_per_second": loader.steps * loader.batch_size / state.seconds,
        "waiting": state.waited / state.seconds,
        "seconds": state.seconds,
    }


def _means(state: RunState, loader: Loader) -> dict[str, float]:
    """Of the losses of the epoch's batches so far. Raises UserError where one is not finite. Waits for the device."""
    sums, bad_step = state.step.read()
    if bad_step is not None:
        raise _no_longer_finite(bad_step, state, loader)
    return {name: value / state.batches_done for name, value in zip(LOGGED, sums, strict=True)}


def _no_longer_finite(bad_step: int, state: RunState, loader: Loader) -> UserError:
    """Looks again at the batch of that step, with the weights that it met, and keeps it: of several processes the one
    that finds something first in the order of computing."""
    epoch, number = divmod(bad_step, loader.steps)
    batch = loader.batch(epoch, number)
    detach_guide = epoch >= loader.config.loss.assist_detach_epochs
    ranks = state.ranks
    bad = ranks.all_of(first_bad_tensor(state.step, batch, detach_guide=detach_guide))
    whose = min(range(len(bad)), key=lambda rank: stage(bad[rank]))
    if whose == ranks.place.rank:
        save_batch(state.run_dir, batch, loader.dataset)
    ranks.meet("keeping the bad batch")
    arrays, picture = state.run_dir / BAD_ARRAYS, state.run_dir / BAD_PICTURE
    first = f"first bad tensor{f' of rank {whose}' if ranks.several else ''}:"
    found = bad[whose] or "none when the batch was run once more"
    return UserError(
        f"the loss or its gradient is no longer a finite number at step {bad_step} (epoch {epoch + 1}, batch"
        f" {number + 1}); {first} {found}; the batch is kept in {arrays} and {picture}: lower train.lr, or"
        " use train.precision=fp32, and start again, or go on from what was saved last with --resume"
    )
