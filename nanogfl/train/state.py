"""The state of a run: what last.pt holds beside the averaged weights, and going on from it."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nanogfl.config import Config
from nanogfl.contract.atomic import atomic_path
from nanogfl.data.coco import DataSet
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.train.ranks import Ranks
from nanogfl.train.run_dir import BEST, LAST, LOG, PREVIOUS, going_on_after_errors
from nanogfl.train.step import TrainStep


@dataclass
class RunState:
    """Everything that changes during a run. Data and learning rate are functions of the step and are not kept.

    It is saved between two updates of the weights only, so no gradient is a part of it. All of several processes keep
    it, and rank 0 writes it while the others wait.
    """

    run_dir: Path
    config: Config
    dataset: DataSet
    step: TrainStep
    batches: int
    """of an epoch"""
    epochs_done: int = 0
    """whole ones, in the log"""
    batches_done: int = 0
    """of the unfinished epoch; all of them, until it has been validated"""
    seconds: float = 0.0
    """that the unfinished epoch has taken until it was last saved"""
    waited: float = 0.0
    """of these for data"""
    best_ap: float = -1.0
    best_epoch: int = -1
    log: list[dict[str, Any]] = field(default_factory=list)
    """an entry for every whole epoch"""
    saved_at: float = field(default_factory=time.monotonic)

    @property
    def ranks(self) -> Ranks:
        return self.step.ranks

    def restore(self, last: Checkpoint) -> None:
        training = last.training
        assert training is not None  # load_last has checked
        step = self.step
        step.detector.load_state_dict(training["detector"])
        step.averaged.detector.load_state_dict(last.weights)
        step.averaged.updates = training["ema_updates"]
        step.optimizer.load_state_dict(training["optimizer"])
        if training.get("scaler"):
            step.scaler.load_state_dict(training["scaler"])
        if step.assist is not None:
            step.assist.load_state_dict(training["assist"])
        if step.equalizer is not None and training.get("equalizer"):  # none: the run had another classification so far
            step.equalizer.load_state_dict(training["equalizer"])
        torch.set_rng_state(training["torch_rng"])
        self.epochs_done, self.log = training["epoch"], training["log"]
        self.best_ap, self.best_epoch = training["best_ap"], training["best_epoch"]
        if unfinished := training.get("unfinished"):  # older versions saved whole epochs only
            self.batches_done = unfinished["batches"]
            self.seconds, self.waited = unfinished["seconds"], unfinished["waited"]
            step.sums.copy_(unfinished["sums"])
        self._write_log()  # a kill may have come between last.pt and it

    def where(self) -> str:
        """For people."""
        if not self.batches_done:
            return f"after epoch {self.epochs_done} of {self.config.train.epochs}"
        return (
            f"in epoch {self.epochs_done + 1} of {self.config.train.epochs}, after batch {self.batches_done} of"
            f" {self.batches}"
        )

    def out_of_patience(self) -> bool:
        """train.patience evaluations or more since the best one."""
        since: int = sum("ap" in entry and entry["epoch"] > self.best_epoch for entry in self.log)
        patience: int = self.config.train.patience
        return 0 < patience <= since

    def due(self) -> bool:
        """train.save_every minutes have passed since the last save."""
        return time.monotonic() - self.saved_at >= 60 * self.config.train.save_every

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """Writes log.jsonl, last.pt, and best.pt where the entry has the best AP so far."""
        self.log.append(entry)
        self.epochs_done = entry["epoch"]
        self.batches_done, self.seconds, self.waited = 0, 0.0, 0.0
        if "ap" in entry and (entry["ap"] or 0.0) > self.best_ap:
            self.best_ap, self.best_epoch = entry["ap"] or 0.0, entry["epoch"]
            if self.ranks.first:
                with going_on_after_errors(self.run_dir):
                    save_checkpoint(self.run_dir / BEST, self._checkpoint(None))
        self.save()
        self._write_log()

    def save(self) -> None:
        """last.pt, which becomes previous.pt with the next one."""
        if self.ranks.first:
            self._write_last()
        self.ranks.meet("saving last.pt")
        self.saved_at = time.monotonic()

    def _write_last(self) -> None:
        training = {
            "detector": self.step.detector.state_dict(),
            "assist": None if self.step.assist is None else self.step.assist.state_dict(),
            "equalizer": None if self.step.equalizer is None else self.step.equalizer.state_dict(),
            "optimizer": self.step.optimizer.state_dict(),
            "scaler": self.step.scaler.state_dict(),
            "ema_updates": self.step.averaged.updates,
            "epoch": self.epochs_done,
            "unfinished": self._unfinished(),
            "best_ap": self.best_ap,
            "best_epoch": self.best_epoch,
            "log": self.log,
            "torch_rng": torch.get_rng_state(),
        }
        with going_on_after_errors(self.run_dir):
            save_checkpoint(self.run_dir / LAST, self._checkpoint(training), keep_as=self.run_dir / PREVIOUS)

    def _unfinished(self) -> dict[str, Any] | None:
        if not self.batches_done:
            return None
        return {
            "batches": self.batches_done,
            "of": self.batches,
            "sums": self.step.sums,
            "seconds": self.seconds,
            "waited": self.waited,
        }

    def _checkpoint(self, training: dict[str, Any] | None) -> Checkpoint:
        entry = self.log[-1] if self.log and not self.batches_done else {}
        facts = {"epoch": self.epochs_done, "ap": entry.get("ap"), "ap50": entry.get("ap50")}
        if self.batches_done:
            facts["batches"] = f"{self.batches_done} of {self.batches} of epoch {self.epochs_done + 1}"
        weights, dataset = self.step.averaged.detector.state_dict(), self.dataset
        return Checkpoint(self.config, dataset.classes, dataset.category_ids, weights, facts, training)

    def _write_log(self) -> None:
        if not self.ranks.first:
            return
        with going_on_after_errors(self.run_dir), atomic_path(self.run_dir / LOG) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in self.log), encoding="utf-8")
