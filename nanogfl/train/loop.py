"""Training, top to bottom."""

import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import torch
import yaml
from torch import nn

from nanogfl.config import Config
from nanogfl.contract.atomic import atomic_path
from nanogfl.contract.errors import UserError
from nanogfl.criterion.assist import AssistBranch
from nanogfl.criterion.criterion import Losses
from nanogfl.criterion.reach import measure_reach
from nanogfl.data.batch import Batch, Loader
from nanogfl.data.check.check import advise_before_training
from nanogfl.data.class_counts import images_per_class
from nanogfl.evaluate.coco_ap import Report, format_report
from nanogfl.evaluate.frequency import LVIS_LIMITS, by_frequency, format_frequency
from nanogfl.model.complexity import count_complexity
from nanogfl.model.detector import Detector, build_detector
from nanogfl.model.predictor import Predictor
from nanogfl.recipe import differences
from nanogfl.train.datasets import list_problems, load_data, plain_truths
from nanogfl.train.device import choose_device, require_compiler
from nanogfl.train.diagnose import first_bad_tensor, save_batch
from nanogfl.train.ema import AveragedDetector
from nanogfl.train.focus_report import focus_entry, save_focus
from nanogfl.train.memory import keep_freed_memory
from nanogfl.train.optim import build_optimizer, learning_rate
from nanogfl.train.parts import FrozenParts
from nanogfl.train.progress import Progress
from nanogfl.train.report import save_curves, save_validation_picture
from nanogfl.train.start import fill, read_start
from nanogfl.train.state import RunState, load_last
from nanogfl.train.step import TrainStep
from nanogfl.train.validate import validate

READ_EVERY = 10  # steps between reads of the loss: a read waits for the device
LOGGED = ("loss", *Losses._fields[1:])  # the log calls the total the loss


@dataclass(frozen=True)
class Outcome:
    run_dir: Path
    best_ap: float
    best_epoch: int
    report: Report
    """of the last epoch"""


def train(config: Config, run_dir: Path, *, resume: bool = False) -> Outcome:
    """Trains into `run_dir`: config.yaml, log.jsonl, last.pt, best.pt, curves.png, validation.png; with an
    equalized loss gamma.png.

    With `resume` it goes on after the last whole epoch of run_dir/last.pt, whatever it started from. Raises UserError.
    """
    device = choose_device(config.train.device)
    require_compiler(device, config.train.compile)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    if device.type == "cpu":
        keep_freed_memory()
    cv2.setNumThreads(0)  # the loader has threads of its own
    start = None if resume else read_start(config)
    torch.manual_seed(config.train.seed)

    data = load_data(config)
    last = load_last(run_dir, config, data.train) if resume else None
    detector = build_detector(config.model, len(data.train.classes))
    frozen = FrozenParts(detector, config.train.freeze)
    started_from: list[str] = []
    if start is not None:
        filled = fill(detector, config, data.train.classes, start)
        frozen.require_loaded(detector, filled.loaded)
        started_from = filled.lines
    _open_run_dir(run_dir, config)

    progress = Progress(config, run_dir)
    list_problems(run_dir, progress, data.train, data.val)
    progress.say(f"frames: {data.train_frames.summary}")
    progress.say(f"detector: {count_complexity(detector)}")
    for line in (*started_from, *frozen.lines()):
        progress.say(line)
    finest = float(detector.grid.strides.min())
    for line in advise_before_training(data.train, data.val, config, finest_stride=finest, rare=LVIS_LIMITS[0]):
        progress.say(line)
    truths = plain_truths(data.train, config.model.input)
    progress.say(str(measure_reach(detector.grid, truths, config.loss, config.model.head.reg_max)))
    step = build_step(config, detector, device)
    loader = Loader(data.train, config, data.train_frames, device, pad=bool(config.train.compile))
    predictor = Predictor(step.averaged.detector, config.model, data.train.classes)
    state = RunState(run_dir, config, data.train, step)
    if last is not None:
        state.restore(last)
        progress.say(f"resuming after epoch {state.epochs_done} of {config.train.epochs}")
        if changed := differences(last.config, config):
            progress.say(f"  with another config than so far: {', '.join(changed)}")
        if config.train.init_from or config.model.backbone.weights:
            progress.say("  train.init_from and model.backbone.weights are ignored: the weights are last.pt's")
    # who shows rare classes more often wants to see what it brings them
    tail = images_per_class(data.train).tolist() if config.data.repeat_threshold > 0 else []
    report: Report | None = None

    with progress, closing(loader.stream(state.epochs_done, config.train.epochs)) as batches:
        for epoch in range(state.epochs_done, config.train.epochs):
            if state.out_of_patience():
                progress.say(f"no better AP for {config.train.patience} evaluations: ended early (train.patience)")
                break
            frozen.train_mode(*step.modules())
            entry = _run_epoch(epoch, step, loader, batches, progress, run_dir)
            entry |= focus_entry(step.equalizer)
            evaluated = (epoch + 1) % config.train.eval_every == 0 or epoch + 1 == config.train.epochs
            if evaluated:
                report = validate(predictor, data.val, data.val_frames)
                entry |= {"ap": report.ap, "ap50": report.ap50, "eval_seconds": report.seconds}
                if tail:
                    entry |= by_frequency(report, tail, LVIS_LIMITS).figures()
            state.end_epoch(entry)
            progress.epoch(entry, state.best_ap)
            if evaluated:
                save_curves(run_dir / "curves.png", state.log)
                save_validation_picture(run_dir / "validation.png", predictor, data.val)
                if step.equalizer is not None:
                    save_focus(run_dir / "gamma.png", state.log, data.train)

    if report is None:  # resumed after the last epoch
        report = validate(predictor, data.val, data.val_frames)
    progress.say(format_report(report))
    if tail:
        progress.say(format_frequency(by_frequency(report, tail, LVIS_LIMITS)))
    return Outcome(run_dir, state.best_ap, state.best_epoch, report)


def build_step(config: Config, detector: Detector, device: torch.device) -> TrainStep:
    """A fresh `detector`, and what trains it, on the device."""
    detector = detector.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = nn.ModuleList([detector])
    assist: AssistBranch | None = None
    if config.loss.assist:
        assist = AssistBranch(detector, config.loss, config.model.activation)
        trained.append(assist.to(device=device, memory_format=torch.channels_last))  # type: ignore[call-overload]
    averaged = AveragedDetector(detector, config.train.ema_decay)
    optimizer = build_optimizer(trained, config.train)
    return TrainStep(config, detector, averaged, optimizer, device, assist)


def _run_epoch(
    epoch: int, step: TrainStep, loader: Loader, batches: Iterator[Batch], progress: Progress, run_dir: Path
) -> dict[str, Any]:
    """The next `loader.steps` batches, an epoch -> the log's entry."""
    config = loader.config
    train, groups = config.train, math.ceil(loader.steps / config.train.accumulate)
    detach_guide = epoch >= config.loss.assist_detach_epochs
    started, loader.waited = time.perf_counter(), 0.0
    step.sums.zero_()
    for number, batch in enumerate(islice(batches, loader.steps)):
        # every group has `accumulate` batches but for the epoch's last, which has what is left
        group, within = divmod(number, train.accumulate)
        size = min(train.accumulate, loader.steps - group * train.accumulate)
        update = epoch * groups + group
        done = epoch * loader.steps + number
        step.accumulate(batch, done, detach_guide=detach_guide, share=1 / size)
        rate = learning_rate(update, train.epochs * groups, train)
        if within + 1 == size:
            for parameters in step.optimizer.param_groups:
                parameters["lr"] = rate
            step.update(done)
        if (number + 1) % READ_EVERY == 0 or number + 1 == loader.steps:
            sums, bad_step = step.read()
            if bad_step is not None:
                raise _no_longer_finite(bad_step, step, loader, run_dir)
            means = {name: value / (number + 1) for name, value in zip(LOGGED, sums, strict=True)}
            progress.step(epoch, number + 1, loader, means, rate, started)
    seconds = time.perf_counter() - started
    return {
        "epoch": epoch + 1,
        "step": (epoch + 1) * loader.steps,
        "lr": rate,
        **means,
        "images_per_second": loader.steps * loader.batch_size / seconds,
        "waiting": loader.waited / seconds,
        "seconds": seconds,
    }


def _no_longer_finite(bad_step: int, step: TrainStep, loader: Loader, run_dir: Path) -> UserError:
    """Looks again at the batch of that step, with the weights that it met, and keeps it."""
    epoch, number = divmod(bad_step, loader.steps)
    batch = loader.batch(epoch, number)
    detach_guide = epoch >= loader.config.loss.assist_detach_epochs
    first = first_bad_tensor(step, batch, detach_guide=detach_guide) or "none when the batch was run once more"
    arrays, picture = save_batch(run_dir, batch, loader.dataset)
    return UserError(
        f"the loss or its gradient is no longer a finite number at step {bad_step} (epoch {epoch + 1}, batch"
        f" {number + 1}); first bad tensor: {first}; the batch is kept in {arrays} and {picture}: lower train.lr, or"
        " use train.precision=fp32, and start again, or go on from the last whole epoch with --resume"
    )


def _open_run_dir(run_dir: Path, config: Config) -> None:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"run folder {run_dir} cannot be made ({error.strerror}): choose another --run-dir") from None
    with atomic_path(run_dir / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")
