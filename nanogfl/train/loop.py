"""Training, top to bottom."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
import yaml
from torch import nn

from nanogfl.config import Config
from nanogfl.contract.atomic import atomic_path
from nanogfl.contract.errors import UserError
from nanogfl.criterion.criterion import compute_losses
from nanogfl.data.batch import Loader
from nanogfl.data.cache import FrameCache
from nanogfl.evaluate.coco_ap import Report, evaluate, format_report
from nanogfl.model.complexity import count_complexity
from nanogfl.model.detector import build_detector
from nanogfl.model.predictor import Predictor
from nanogfl.recipe import differences
from nanogfl.train.datasets import list_problems, load_data
from nanogfl.train.device import autocast, choose_device
from nanogfl.train.ema import AveragedDetector
from nanogfl.train.optim import build_optimizer, learning_rate
from nanogfl.train.parts import FrozenParts
from nanogfl.train.progress import Progress
from nanogfl.train.report import save_curves, save_validation_picture
from nanogfl.train.start import fill, read_start
from nanogfl.train.state import RunState, load_last

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
    last = load_last(run_dir, config, train_set) if resume else None
    detector = build_detector(config.model, len(train_set.classes))
    frozen = FrozenParts(detector, config.train.freeze)
    started_from: list[str] = []
    if start is not None:
        filled = fill(detector, config, train_set.classes, start)
        frozen.require_loaded(detector, filled.loaded)
        started_from = filled.lines
    _open_run_dir(run_dir, config)

    progress = Progress(config, run_dir)
    list_problems(run_dir, progress, train_set, val_set)
    progress.say(f"detector: {count_complexity(detector)}")
    for line in (*started_from, *frozen.lines()):
        progress.say(line)
    detector = detector.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedDetector(detector, config.train.ema_decay)
    optimizer = build_optimizer(detector, config.train)
    loader = Loader(train_set, config, cache)
    predictor = Predictor(averaged.detector, config.model, train_set.classes)
    state = RunState(run_dir, config, train_set, detector, averaged, optimizer)
    if last is not None:
        state.restore(last)
        progress.say(f"resuming after epoch {state.epochs_done} of {config.train.epochs}")
        if changed := differences(last.config, config):
            progress.say(f"  with another config than so far: {', '.join(changed)}")
        if config.train.init_from or config.model.backbone.weights:
            progress.say("  train.init_from and model.backbone.weights are ignored: the weights are last.pt's")
    total_steps = config.train.epochs * loader.steps
    report: Report | None = None

    with progress:
        for epoch in range(state.epochs_done, config.train.epochs):
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
            evaluated = (epoch + 1) % config.train.eval_every == 0 or epoch + 1 == config.train.epochs
            if evaluated:
                report = evaluate(predictor, val_set)
                entry |= {"ap": report.ap, "ap50": report.ap50, "eval_seconds": report.seconds}
            state.end_epoch(entry)
            progress.epoch(entry, state.best_ap)
            if evaluated:
                save_curves(run_dir / "curves.png", state.log)
                save_validation_picture(run_dir / "validation.png", predictor, val_set)

    if report is None:  # resumed after the last epoch
        report = evaluate(predictor, val_set)
    progress.say(format_report(report))
    return Outcome(run_dir, state.best_ap, state.best_epoch, report)


def _open_run_dir(run_dir: Path, config: Config) -> None:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"run folder {run_dir} cannot be made ({error.strerror}): choose another --run-dir") from None
    with atomic_path(run_dir / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")


def _mean_losses(sums: torch.Tensor, steps: int, step: int) -> dict[str, float]:
    names = ("loss", "qfl", "giou", "dfl", "positives")
    means = dict(zip(names, (sums / steps).tolist(), strict=True))
    if not all(math.isfinite(value) for value in means.values()):
        raise UserError(
            f"the loss is no longer a finite number at step {step} ({means}): lower train.lr, or use precision fp32"
        )
    return means
