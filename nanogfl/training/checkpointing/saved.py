"""Reading what a run saved: the last whole state, if it fits the config and the data that go on with it."""

import os
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import Checkpoint, load_checkpoint
from nanogfl.recipe import differences
from nanogfl.training.checkpointing.resume_rules import as_started, changes
from nanogfl.training.checkpointing.run_dir import BEST, LAST, PREVIOUS
from nanogfl.training.checkpointing.training_state import TrainingState, cannot_resume, read_training
from nanogfl.training.datasets import Data

_DAMAGED = "damaged.pt"


class Saved(NamedTuple):
    checkpoint: Checkpoint
    path: Path
    complaint: str | None
    """what is wrong with last.pt, if `path` is previous.pt"""


def read_saved(run_dir: Path) -> Saved:
    """Reads run_dir/last.pt, or previous.pt if that is damaged. Raises UserError where neither can be read."""
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


class GoingOn(NamedTuple):
    """What a run goes on from."""

    checkpoint: Checkpoint
    training: TrainingState
    path: Path
    complaint: str | None
    """as of Saved"""
    config: Config
    """for the rest of the run; keys that only a start reads keep their values"""
    lines: list[str]
    """for people"""


def load_last(run_dir: Path, config: Config, data: Data, batches: int, teacher: str | None = None) -> GoingOn:
    """The state to go on from. `batches`: of an epoch without train.epoch_batches; `teacher`: sha256 of
    train.teacher's file. A damaged last.pt is renamed to damaged.pt.

    Raises UserError where there is no state, where it is not as a run saves it, and where it does not fit the config
    (resume_rules.py), the teacher, the data set or, in the middle of an epoch, its batches.
    """
    saved = read_saved(run_dir)
    checkpoint, path = saved.checkpoint, saved.path
    if checkpoint.training is None:
        raise UserError(f"{path} holds no state of training: it cannot be resumed")
    training = read_training(checkpoint.training, path)
    _require_same_teacher(checkpoint.config, config, training, teacher, path)
    _require_same_minutes(checkpoint.config, config, path)
    going_on = as_started(checkpoint.config, config)
    _require_same_config(checkpoint.config, going_on, training, path, going_on.train.epoch_batches or batches)
    lines = _compare_data(checkpoint, data, path)
    if kept := changes(checkpoint.config, config, "start"):
        lines.append(f"only a start reads these, which stay as they were: {', '.join(kept)}")
    if changed := differences(checkpoint.config, going_on):
        lines.append(f"with another config than so far: {', '.join(changed)}")
    if going_on.train.init_from or going_on.model.backbone.weights:
        lines.append(f"train.init_from and model.backbone.weights are ignored: the weights are {path.name}'s")
    if saved.complaint is not None and (run_dir / LAST).exists():
        os.replace(run_dir / LAST, run_dir / _DAMAGED)  # it must not become previous.pt
    return GoingOn(checkpoint, training, path, saved.complaint, going_on, lines)


def _require_same_minutes(then: Config, now: Config, path: Path) -> None:
    before, after = then.train.minutes, now.train.minutes
    if after and before != after:
        planned = f"was planned for {before:g} minutes" if before else "was started without train.minutes"
        raise UserError(
            f"{path} {planned}, which cannot become {after:g}: resume with train.minutes {before:g}"
            f"{', or 0 and the train.epochs that you want' if before else ''}, or start a new run with --init-from"
            f" {path}"
        )


def _require_same_config(then: Config, now: Config, training: TrainingState, path: Path, batches: int) -> None:
    instead = f"or start a new run with --init-from {path}"
    if fixed := changes(then, now, "fixed"):
        raise UserError(
            f"{path} was trained with another model, or what belongs to it ({', '.join(fixed)}): resume with the same,"
            f" {instead}"
        )
    if now.train.epochs < training.epoch:
        raise UserError(
            f"{path} has {training.epoch} whole epochs, which is more than train.epochs {now.train.epochs}: raise"
            f" that, {instead}"
        )
    unfinished = training.unfinished
    if unfinished is None:
        return
    before, after = then.train, now.train
    if unfinished.of != batches or (before.batch_size, before.accumulate) != (after.batch_size, after.accumulate):
        raise UserError(
            f"{path} stands in the middle of an epoch of {unfinished.of} batches of {before.batch_size}, accumulated by"
            f" {before.accumulate}, now it is {batches} of {after.batch_size} by {after.accumulate}: resume with the"
            f" same data, train.batch_size and train.accumulate, {instead}"
        )
    if mixed := changes(then, now, "within an epoch"):
        raise UserError(
            f"{path} stands in the middle of an epoch, whose order of images would be another one ({', '.join(mixed)}):"
            f" resume with the same, {instead}"
        )
    if unfinished.batches > batches or (unfinished.batches % after.accumulate and unfinished.batches != batches):
        raise cannot_resume(path, f"{unfinished.batches} batches of an epoch's {batches} are no whole updates")
    if training.epoch >= now.train.epochs:
        raise UserError(
            f"{path} stands in epoch {training.epoch + 1}, which is more than train.epochs {now.train.epochs}: raise"
            f" that, {instead}"
        )


def _require_same_teacher(then: Config, now: Config, training: TrainingState, teacher: str | None, path: Path) -> None:
    instead = f"or start a new run with --init-from {path}"
    if training.teacher is not None and teacher is None:
        raise UserError(
            f"{path} was trained with a teacher ({then.train.teacher}), now there is none: resume with the same"
            f" train.teacher, {instead}"
        )
    if training.teacher is None and teacher is not None:
        raise UserError(
            f"{path} was trained without a teacher, now it is {now.train.teacher}: resume without train.teacher,"
            f" {instead}"
        )
    if training.teacher != teacher:
        raise UserError(
            f"{path} was trained with another teacher: {then.train.teacher} had the sha256 {training.teacher}, now"
            f" {now.train.teacher} has {teacher}; resume with the former file, {instead}"
        )
    if teacher is not None and (then.distill.feature > 0) != (now.distill.feature > 0):
        raise UserError(
            f"{path} was trained with{'' if then.distill.feature else 'out'} adapters of the features"
            f" (distill.feature {then.distill.feature:g} -> {now.distill.feature:g}): resume with distill.feature"
            f" {'above' if then.distill.feature else 'at'} 0, {instead}"
        )


def _compare_data(checkpoint: Checkpoint, data: Data, path: Path) -> list[str]:
    """Raises UserError for another data set. Returns a note where the file does not name its data set."""
    then, now, facts = checkpoint, data.train, data.facts()
    if (then.classes, then.category_ids) != (now.classes, now.category_ids):
        pairs = zip_longest(
            zip(then.category_ids, then.classes, strict=True), zip(now.category_ids, now.classes, strict=True)
        )
        before, after = next((a, b) for a, b in pairs if a != b)
        raise UserError(
            f"{path} was trained on other classes: its first that differs is {_named(before)}, in {now.name}"
            f" {_named(after)}; resume with the categories in their former order, or start a new run with --init-from"
            f" {path}, which finds the classes by their names"
        )
    if "data" not in then.facts:
        return [f"{path.name} does not say which data set it was trained on: that it is this one was not checked"]
    if then.facts["data"] == facts["data"]:
        return []
    changed = [
        f"{name} was {then.facts.get(key)}, now it is {facts[key]}"
        for name, key in (("train", "train_data"), ("val", "val_data"))
        if then.facts.get(key) != facts[key]
    ]
    raise UserError(
        f"{path} was trained on another data set:"
        f" {'; '.join(changed) or 'of the same counts, but with other images, sizes or boxes'}; resume with the former"
        f" one, or go on with this one in a new run with --init-from {path}"
    )


def _named(category: tuple[int, str] | None) -> str:
    return "none" if category is None else f"{category[0]}: {category[1]}"
