"""The state of a run: what last.pt holds beside the averaged weights, and going on from it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nanogfl.config import Config
from nanogfl.contract.atomic import atomic_path
from nanogfl.contract.errors import UserError
from nanogfl.data.coco import DataSet
from nanogfl.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nanogfl.train.step import TrainStep


@dataclass
class RunState:
    """Everything that changes during a run. Data and learning rate are functions of the step and are not kept."""

    run_dir: Path
    config: Config
    dataset: DataSet
    step: TrainStep
    epochs_done: int = 0
    best_ap: float = -1.0
    best_epoch: int = -1
    log: list[dict[str, Any]] = field(default_factory=list)
    """an entry for every whole epoch"""

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

    def out_of_patience(self) -> bool:
        """train.patience evaluations or more since the best one."""
        since: int = sum("ap" in entry and entry["epoch"] > self.best_epoch for entry in self.log)
        patience: int = self.config.train.patience
        return 0 < patience <= since

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """Writes log.jsonl, last.pt, and best.pt where the entry has the best AP so far."""
        self.log.append(entry)
        self.epochs_done = entry["epoch"]
        facts = {name: entry.get(name) for name in ("epoch", "ap", "ap50")}
        if "ap" in entry and (entry["ap"] or 0.0) > self.best_ap:
            self.best_ap, self.best_epoch = entry["ap"] or 0.0, entry["epoch"]
            self._save("best.pt", facts, None)
        training = {
            "detector": self.step.detector.state_dict(),
            "assist": None if self.step.assist is None else self.step.assist.state_dict(),
            "equalizer": None if self.step.equalizer is None else self.step.equalizer.state_dict(),
            "optimizer": self.step.optimizer.state_dict(),
            "scaler": self.step.scaler.state_dict(),
            "ema_updates": self.step.averaged.updates,
            "epoch": self.epochs_done,
            "best_ap": self.best_ap,
            "best_epoch": self.best_epoch,
            "log": self.log,
            "torch_rng": torch.get_rng_state(),
        }
        self._save("last.pt", facts, training)
        with atomic_path(self.run_dir / "log.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in self.log), encoding="utf-8")

    def _save(self, name: str, facts: dict[str, Any], training: dict[str, Any] | None) -> None:
        weights = self.step.averaged.detector.state_dict()
        dataset = self.dataset
        save_checkpoint(
            self.run_dir / name,
            Checkpoint(self.config, dataset.classes, dataset.category_ids, weights, facts, training),
        )


def load_last(run_dir: Path, config: Config, dataset: DataSet) -> Checkpoint:
    """run_dir/last.pt. Raises UserError where it is missing, broken, or of another model, other classes or parts."""
    path = run_dir / "last.pt"
    checkpoint = load_checkpoint(path)
    if checkpoint.training is None:
        raise UserError(f"{path} holds no state of training: it cannot be resumed")
    if checkpoint.config.model != config.model or checkpoint.category_ids != dataset.category_ids:
        raise UserError(f"{path} was trained with another model or other classes: resume with its config.yaml")
    if (checkpoint.training.get("assist") is None) == config.loss.assist:
        raise UserError(
            f"{path} was trained with loss.assist {not config.loss.assist}, now it is {config.loss.assist}: resume with"
            f" the same, or start a new run with --init-from {path}"
        )
    made_by, wanted = checkpoint.config.train.optimizer, config.train.optimizer
    if made_by != wanted:
        raise UserError(
            f"{path} holds the state of train.optimizer {made_by}, now it is {wanted}: resume with the same, or start a"
            f" new run with --init-from {path}"
        )
    before, now = checkpoint.config.train.freeze, config.train.freeze
    if set(before) != set(now):  # the optimizer's state is that of the trained parameters
        raise UserError(
            f"{path} was trained with train.freeze {list(before)}, now it is {list(now)}: resume with"
            f" the same, or start a new run with --init-from {path}"
        )
    return checkpoint
