"""Training, top to bottom."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import nn

from nanogfl.config import Config, differences
from nanogfl.contract.atomic import atomic_path
from nanogfl.contract.errors import UserError
from nanogfl.criterion.criterion import compute_losses
from nanogfl.data.batch import Loader
from nanogfl.data.cache import FrameCache, read_checked, without_unreadable
from nanogfl.data.coco import DataSet, ImageRecord, load_coco
from nanogfl.evaluate.coco_ap import Report, evaluate, format_report
from nanogfl.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nanogfl.model.complexity import count_complexity
from nanogfl.model.detector import Detector, build_detector
from nanogfl.model.predictor import Predictor
from nanogfl.train.device import autocast, choose_device
from nanogfl.train.ema import AveragedDetector
from nanogfl.train.optim import build_optimizer, learning_rate
from nanogfl.train.parts import FrozenParts
from nanogfl.train.progress import Progress, show_reading
from nanogfl.train.report import save_curves, save_validation_picture
from nanogfl.train.start import fill, read_start

READ_EVERY = 10  # steps between reads of the loss: a read waits for the device


@dataclass(frozen=True)
class Outcome:
    run_dir: Path
    best_ap: float
    best_epoch: int
    report: Report
    """of the last epoch"""


def train(config: Config, run_dir: Path, *, resume: bool = False) -> Outcome:
    """Trains into `run_dir`: config.yaml, log.jsonl, last.pt, best.pt, curves.png, validation.png.

    With `resume` it goes on after the last whole epoch of run_dir/last.pt, whatever it started from. Raises UserError.
    """
    device = choose_device(config.train.device)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    cv2.setNumThreads(0)  # the loader has threads of its own
    start = None if resume else read_start(config)
    torch.manual_seed(config.train.seed)

    cache = FrameCache(config.data.memory_gb)
    train_set, val_set = load_data(config, cache)
    state = _load_state(run_dir, config, train_set) if resume else None
    detector = build_detector(config.model, len(train_set.classes))
    frozen = FrozenParts(detector, config.train.freeze)
    started_from: list[str] = []
    if start is not None:
        filled = fill(detector, config, train_set.classes, start)
        frozen.require_loaded(detector, filled.loaded)
        started_from = filled.lines
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"run folder {run_dir} cannot be made ({error.strerror}): choose another --run-dir") from None
    _write_config(run_dir, config)

    progress = Progress(config, run_dir)
    _list_problems(run_dir, progress, train_set, val_set)
    progress.say(f"detector: {count_complexity(detector)}")
    for line in (*started_from, *frozen.lines()):
        progress.say(line)
    detector = detector.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedDetector(detector, config.train.ema_decay)
    optimizer = build_optimizer(detector, config.train)
    loader = Loader(train_set, config, cache)
    total_steps = config.train.epochs * loader.steps

    log: list[dict[str, Any]] = []
    first_epoch, best_ap, best_epoch = 0, -1.0, -1
    if state is not None:
        first_epoch, best_ap, best_epoch, log = _restore(state, detector, averaged, optimizer)
        progress.say(f"resuming after epoch {first_epoch} of {config.train.epochs}")
        if changed := differences(state.config, config):
            progress.say(f"  with another config than so far: {', '.join(changed)}")
        if config.train.init_from or config.model.backbone.weights:
            progress.say("  train.init_from and model.backbone.weights are ignored: the weights are last.pt's")
    report: Report | None = None

    with progress:
        for epoch in range(first_epoch, config.train.epochs):
            detector.train()
            frozen.keep_statistics()
            started, loader.waited = time.perf_counter(), 0.0
            sums = torch.zeros(5, device=device)
            for number, batch in enumerate(loader.epoch(epoch)):
                step = epoch * loader.steps + number
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step, total_steps, config.train)
                images, truth = batch.images.to(device, non_blocking=True), batch.truth.to(device)

                with autocast(device, config.train.precision):
                    predictions = detector(images)
                losses = compute_losses(predictions, detector.grid, truth, config.loss)
                optimizer.zero_grad(set_to_none=True)
                losses.total.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(detector.parameters(), config.train.clip_norm)
                optimizer.step()
                averaged.update(detector)

                sums += torch.stack(losses).detach()
                if (number + 1) % READ_EVERY == 0 or number + 1 == loader.steps:
                    means = _mean_losses(sums, number + 1, step)
                    progress.step(epoch, number + 1, loader, means, optimizer.param_groups[0]["lr"], started)

            seconds = time.perf_counter() - started
            entry: dict[str, Any] = {
                "epoch": epoch + 1,
                "step": (epoch + 1) * loader.steps,
                "lr": optimizer.param_groups[0]["lr"],
                **means,
                "images_per_second": loader.steps * loader.batch_size / seconds,
                "waiting": loader.waited / seconds,
                "seconds": seconds,
            }
            improved = False
            if (epoch + 1) % config.train.eval_every == 0 or epoch + 1 == config.train.epochs:
                predictor = Predictor(averaged.detector, config.model, train_set.classes)
                report = evaluate(predictor, val_set)
                entry |= {"ap": report.ap, "ap50": report.ap50, "eval_seconds": report.seconds}
                improved = (report.ap or 0.0) > best_ap
                if improved:
                    best_ap, best_epoch = report.ap or 0.0, epoch + 1
            log.append(entry)
            _write_log(run_dir, log)
            progress.epoch(entry, best_ap)

            facts = {"epoch": epoch + 1, "ap": entry.get("ap"), "ap50": entry.get("ap50")}
            if improved:
                save_checkpoint(run_dir / "best.pt", _checkpoint(config, train_set, averaged, facts))
            training = {
                "detector": detector.state_dict(),
                "optimizer": optimizer.state_dict(),
                "ema_updates": averaged.updates,
                "epoch": epoch + 1,
                "best_ap": best_ap,
                "best_epoch": best_epoch,
                "log": log,
                "torch_rng": torch.get_rng_state(),
            }
            save_checkpoint(run_dir / "last.pt", _checkpoint(config, train_set, averaged, facts, training))
            if report is not None and "ap" in entry:
                save_curves(run_dir / "curves.png", log)
                save_validation_picture(run_dir / "validation.png", predictor, val_set)

    if report is None:  # resumed after the last epoch
        report = evaluate(Predictor(averaged.detector, config.model, train_set.classes), val_set)
    progress.say(format_report(report))
    return Outcome(run_dir, best_ap, best_epoch, report)


def load_data(config: Config, cache: FrameCache | None = None) -> tuple[DataSet, DataSet]:
    """Training and validation set with the same classes, every image read once (training images into `cache`).

    Raises UserError before any training.
    """
    root, data = Path(config.data.root), config.data
    train_set = load_coco(root / data.train.annotations, root / data.train.images, strict=data.strict)
    val_set = load_coco(
        root / data.val.annotations, root / data.val.images, strict=data.strict, class_ids=train_set.category_ids
    )
    if not any((~image.crowd).any() for image in train_set.images):
        raise UserError(
            f"{train_set.name} has no usable box in any of its {len(train_set.images)} images: nothing to learn"
        )
    if val_set.classes != train_set.classes:
        raise UserError(
            f"{val_set.name} names its categories differently from {train_set.name}: give equal ids equal names"
        )

    def readable(dataset: DataSet, read: Callable[[ImageRecord], NDArray[np.uint8]]) -> DataSet:
        return without_unreadable(dataset, strict=data.strict, read=read, threads=data.workers, track=show_reading)

    return readable(train_set, cache.get if cache else read_checked), readable(val_set, read_checked)


def _mean_losses(sums: torch.Tensor, steps: int, step: int) -> dict[str, float]:
    names = ("loss", "qfl", "giou", "dfl", "positives")
    means = dict(zip(names, (sums / steps).tolist(), strict=True))
    if not all(value == value and abs(value) != float("inf") for value in means.values()):
        raise UserError(
            f"the loss is no longer a finite number at step {step} ({means}): lower train.lr, or use precision fp32"
        )
    return means


def _checkpoint(
    config: Config,
    dataset: DataSet,
    averaged: AveragedDetector,
    facts: dict[str, Any],
    training: dict[str, Any] | None = None,
) -> Checkpoint:
    weights = averaged.detector.state_dict()
    return Checkpoint(config, dataset.classes, dataset.category_ids, weights, facts, training)


def _load_state(run_dir: Path, config: Config, dataset: DataSet) -> Checkpoint:
    checkpoint = load_checkpoint(run_dir / "last.pt")
    if checkpoint.training is None:
        raise UserError(f"{run_dir / 'last.pt'} holds no state of training: it cannot be resumed")
    if checkpoint.config.model != config.model or checkpoint.category_ids != dataset.category_ids:
        raise UserError(
            f"{run_dir / 'last.pt'} was trained with another model or other classes: resume with its config.yaml"
        )
    before, now = checkpoint.config.train.freeze, config.train.freeze
    if set(before) != set(now):  # the optimizer's state is that of the trained parameters
        raise UserError(
            f"{run_dir / 'last.pt'} was trained with train.freeze {list(before)}, now it is {list(now)}: resume with"
            f" the same, or start a new run with --init-from {run_dir / 'last.pt'}"
        )
    return checkpoint


def _restore(
    state: Checkpoint, detector: Detector, averaged: AveragedDetector, optimizer: torch.optim.Optimizer
) -> tuple[int, float, int, list[dict[str, Any]]]:
    training = state.training
    assert training is not None
    detector.load_state_dict(training["detector"])
    averaged.detector.load_state_dict(state.weights)
    averaged.updates = training["ema_updates"]
    optimizer.load_state_dict(training["optimizer"])
    torch.set_rng_state(training["torch_rng"])
    return training["epoch"], training["best_ap"], training["best_epoch"], training["log"]


def _write_config(run_dir: Path, config: Config) -> None:
    with atomic_path(run_dir / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")


def _write_log(run_dir: Path, log: list[dict[str, Any]]) -> None:
    with atomic_path(run_dir / "log.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in log), encoding="utf-8")


def _list_problems(run_dir: Path, progress: Progress, *datasets: DataSet) -> None:
    for dataset in datasets:
        progress.say(f"{dataset.name}: {dataset.summary()}")
        if dataset.problems:
            progress.say(
                f"  left out or mended: {dataset.problem_summary()}; listed in {run_dir / 'data_problems.txt'}"
            )
    lines = [f"{dataset.name}: {p.where}: {p.reason}\n" for dataset in datasets for p in dataset.problems]
    if lines:
        (run_dir / "data_problems.txt").write_text("".join(lines), encoding="utf-8")
