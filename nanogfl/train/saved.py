"""Reading what a run saved: the last state that is whole, if it fits what goes on with it."""

import os
from pathlib import Path
from typing import NamedTuple

from nanogfl.config import Config
from nanogfl.contract.errors import UserError
from nanogfl.data.coco import DataSet
from nanogfl.model.checkpoint import Checkpoint, load_checkpoint
from nanogfl.train.run_dir import BEST, LAST, PREVIOUS

_DAMAGED = "damaged.pt"


class Saved(NamedTuple):
    checkpoint: Checkpoint
    path: Path
    complaint: str | None
    """what is wrong with last.pt, where `path` is previous.pt"""


def read_saved(run_dir: Path) -> Saved:
    """run_dir/last.pt, or previous.pt where that is not whole. Raises UserError where neither can be read."""
    last, previous = run_dir / LAST, run_dir / PREVIOUS
    try:
        return Saved(load_checkpoint(last), last, None)
    except UserError as error:
        if not previous.exists():
            raise
        complaint = str(error)
    try:
        return Saved(load_checkpoint(previous), previous, complaint)
    except UserError as error:
        raise UserError(
            f"nothing can be resumed in {run_dir}: {complaint}; and {error}; start a new run, with --init-from"
            f" {run_dir / BEST} if that is whole"
        ) from None


def load_last(run_dir: Path, config: Config, dataset: DataSet, batches: int) -> Saved:
    """The state to go on from; `batches`: of an epoch. A last.pt that is not whole becomes damaged.pt.

    Raises UserError where there is none, or one of another model, other classes or parts, or in the middle of an epoch
    of other batches.
    """
    saved = read_saved(run_dir)
    _require_fit(saved, config, dataset, batches)
    if saved.complaint is not None and (run_dir / LAST).exists():
        os.replace(run_dir / LAST, run_dir / _DAMAGED)  # it must not become previous.pt
    return saved


def _require_fit(saved: Saved, config: Config, dataset: DataSet, batches: int) -> None:
    checkpoint, path = saved.checkpoint, saved.path
    if checkpoint.training is None:
        raise UserError(f"{path} holds no state of training: it cannot be resumed")
    if checkpoint.config.model != config.model or checkpoint.category_ids != dataset.category_ids:
        raise UserError(f"{path} was trained with another model or other classes: resume with its config.yaml")
    if (checkpoint.training.get("assist") is None) == config.loss.assist:
        raise UserError(
            f"{path} was trained with loss.assist {not config.loss.assist}, now it is {config.loss.assist}: resume with"
            f" the same, or start a new run with --init-from {path}"
        )
    then, now = checkpoint.config.train, config.train
    if then.optimizer != now.optimizer:
        raise UserError(
            f"{path} holds the state of train.optimizer {then.optimizer}, now it is {now.optimizer}: resume with the"
            f" same, or start a new run with --init-from {path}"
        )
    if set(then.freeze) != set(now.freeze):  # the optimizer's state is that of the trained parameters
        raise UserError(
            f"{path} was trained with train.freeze {list(then.freeze)}, now it is {list(now.freeze)}: resume with"
            f" the same, or start a new run with --init-from {path}"
        )
    unfinished = checkpoint.training.get("unfinished")  # older versions saved whole epochs only
    before = unfinished and (unfinished["of"], then.batch_size, then.accumulate)
    if before and before != (batches, now.batch_size, now.accumulate):
        raise UserError(
            f"{path} stands in the middle of an epoch of {before[0]} batches of {before[1]}, accumulated by"
            f" {before[2]}, now it is {batches} of {now.batch_size} by {now.accumulate}: resume with the same data,"
            f" train.batch_size and train.accumulate, or start a new run with --init-from {path}"
        )
