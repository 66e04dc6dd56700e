"""The state of a run: saving it, and going on from it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from nanogfl.config import Config
from nanogfl.io.atomic import atomic_path
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.training.checkpointing.run_dir import BEST, LAST, LOG, PREVIOUS, going_on_after_errors
from nanogfl.training.checkpointing.saved import GoingOn
from nanogfl.training.checkpointing.training_state import TrainingState, Unfinished, cannot_resume, require_tensors
from nanogfl.training.datasets import Data
from nanogfl.training.distributed.ranks import Ranks
from nanogfl.training.minutes.budget import Budget
from nanogfl.training.optim import load_optimizer
from nanogfl.training.step import TrainStep


@dataclass
class RunState:
    """Everything that changes during a run. Data and learning rate are functions of the step and need no state.

    It is saved only between two updates of the weights, so it contains no gradient. Every process keeps it; rank 0
    writes it while the others wait.
    """

    run_dir: Path
    config: Config
    data: Data
    step: TrainStep
    batches: int
    """of an epoch"""
    epochs_done: int = 0
    """whole epochs, all in the log"""
    batches_done: int = 0
    """of the unfinished epoch; after its last batch, until it has been validated, all of them"""
    seconds: float = 0.0
    """spent in the unfinished epoch"""
    waited: float = 0.0
    """of these seconds, spent waiting for data"""
    log: list[dict[str, Any]] = field(default_factory=list)
    """one entry per whole epoch"""
    saved_at: float = field(default_factory=time.monotonic)
    wrote: Callable[[Path], object] = lambda path: None
    """called in rank 0 with every checkpoint that was written"""
    budget: Budget | None = None
    """of a run with train.minutes"""

    @property
    def ranks(self) -> Ranks:
        return self.step.ranks

    def restore(self, last: GoingOn) -> None:
        """Takes over the saved state. Raises UserError, before anything is written, where its tensors do not fit."""
        step, training, path = self.step, last.training, last.path
        had_account = last.checkpoint.config.loss.equalized  # the run may have had another classification so far
        parts: list[tuple[str, Any, Any]] = [
            ("the averaged weights", step.averaged.detector, last.checkpoint.weights),
            ("the trained weights", step.detector, training.detector),
            ("the auxiliary branch", step.assist, training.assist or {}),
            (
                "the adapters of the features",
                None if step.lessons is None else step.lessons.adapters,
                training.adapters or {},
            ),
            ("the account of the classes", step.equalizer if had_account else None, training.equalizer or {}),
        ]
        for what, part, found in parts:
            if part is not None:
                require_tensors(path, what, found, part.state_dict())
                part.load_state_dict(found)
        step.averaged.updates = training.ema_updates
        load_optimizer(step.optimizer, training.optimizer, path)
        if step.scaler.is_enabled() and training.scaler:
            if training.scaler.keys() != step.scaler.state_dict().keys() or not training.scaler["scale"] > 0:
                raise cannot_resume(path, "the scale of the loss")
            step.scaler.load_state_dict(training.scaler)
        try:
            torch.set_rng_state(training.torch_rng)
        except (TypeError, RuntimeError) as error:
            raise cannot_resume(path, f"torch_rng: {error}") from None
        self.epochs_done, self.log = training.epoch, list(training.log)
        if self.budget is not None and training.times is not None:
            self.budget.go_on(training.times)
        if unfinished := training.unfinished:
            require_tensors(path, "the unfinished epoch", {"sums": unfinished.sums}, {"sums": step.sums})
            self.batches_done = unfinished.batches
            self.seconds, self.waited = unfinished.seconds, unfinished.waited
            step.sums.copy_(unfinished.sums)
        self._write_log()  # a kill may have come after last.pt was written and before the log

    @property
    def best_ap(self) -> float | None:
        """None before the first evaluation, and where the validation set gives no AP."""
        return self._best()[0]

    @property
    def best_epoch(self) -> int:
        """The epoch of best.pt; 0 before the first evaluation."""
        return self._best()[1]

    def _best(self) -> tuple[float | None, int]:
        """The first epoch with the largest AP. While no AP is above 0, the newest evaluated epoch."""
        best: tuple[float | None, int] = None, 0
        for entry in self.log:
            if "ap" in entry and (not best[0] or (entry["ap"] or 0.0) > best[0]):
                best = entry["ap"], entry["epoch"]
        return best

    def where(self) -> str:
        """For people."""
        if not self.batches_done:
            return f"after epoch {self.epochs_done} of {self.config.train.epochs}"
        return (
            f"in epoch {self.epochs_done + 1} of {self.config.train.epochs}, after batch {self.batches_done} of"
            f" {self.batches}"
        )

    def out_of_patience(self) -> bool:
        """Whether train.patience evaluations brought no better AP. They count from the first AP above 0 on."""
        since: int = sum(entry.get("ap") is not None and entry["epoch"] > self.best_epoch for entry in self.log)
        patience: int = self.config.train.patience
        return 0 < patience <= since

    def due(self) -> bool:
        """Whether train.save_every minutes have passed since the last save."""
        return time.monotonic() - self.saved_at >= 60 * self.config.train.save_every

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """Writes last.pt, log.jsonl, and best.pt if the entry's evaluation is the best so far. Raises UserError."""
        self.log.append(entry)
        self.epochs_done = entry["epoch"]
        self.batches_done, self.seconds, self.waited = 0, 0.0, 0.0
        if self.best_epoch == self.epochs_done and self.ranks.first:
            with going_on_after_errors(self.run_dir):
                save_checkpoint(self.run_dir / BEST, self.averaged())
            self.wrote(self.run_dir / BEST)
        self.save()
        self._write_log()

    def save(self) -> None:
        """Writes last.pt; the one before becomes previous.pt. Raises UserError, which says how to go on."""
        if self.ranks.first:
            self._write_last()
        self.ranks.meet("saving last.pt")
        self.saved_at = time.monotonic()

    def whole(self) -> Checkpoint:
        """What last.pt holds. Tensors are not copied."""
        step, unfinished = self.step, None
        if self.batches_done:
            unfinished = Unfinished(self.batches_done, self.batches, step.sums, self.seconds, self.waited)
        training = TrainingState(
            detector=step.detector.state_dict(),
            optimizer=step.optimizer.state_dict(),
            torch_rng=torch.get_rng_state(),
            ema_updates=step.averaged.updates,
            epoch=self.epochs_done,
            log=self.log,
            unfinished=unfinished,
            assist=None if step.assist is None else step.assist.state_dict(),
            equalizer=None if step.equalizer is None else step.equalizer.state_dict(),
            scaler=step.scaler.state_dict(),
            teacher=None if step.lessons is None else step.lessons.teacher.sha256,
            adapters=None if step.lessons is None else step.lessons.adapters.state_dict(),
            times=None if self.budget is None else self.budget.times(),
        )
        return self._checkpoint(training.to_dict())

    def averaged(self) -> Checkpoint:
        """What best.pt holds."""
        return self._checkpoint(None)

    def _write_last(self) -> None:
        checkpoint = self.whole()
        with going_on_after_errors(self.run_dir):
            save_checkpoint(self.run_dir / LAST, checkpoint, keep_as=self.run_dir / PREVIOUS)
        self.wrote(self.run_dir / LAST)

    def _checkpoint(self, training: dict[str, Any] | None) -> Checkpoint:
        entry = self.log[-1] if self.log and not self.batches_done else {}
        facts: dict[str, Any] = {"epoch": self.epochs_done, "ap": entry.get("ap"), "ap50": entry.get("ap50")}
        if self.batches_done:
            facts["batches"] = f"{self.batches_done} of {self.batches} of epoch {self.epochs_done + 1}"
        weights, dataset = self.step.averaged.detector.state_dict(), self.data.train
        if self.step.lessons is not None:
            facts["teacher_sha256"] = self.step.lessons.teacher.sha256
        facts |= self._data_facts
        return Checkpoint(self.config, dataset.classes, dataset.category_ids, weights, facts, training)

    @cached_property
    def _data_facts(self) -> dict[str, str]:
        """Computed once per run, as it reads every box."""
        return self.data.facts()

    def _write_log(self) -> None:
        if not self.ranks.first:
            return
        with going_on_after_errors(self.run_dir), atomic_path(self.run_dir / LOG) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in self.log), encoding="utf-8")
