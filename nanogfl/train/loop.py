"""Training, top to bottom."""

from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import cv2
import torch
from torch import nn

from nanogfl.config import Config
from nanogfl.data.class_counts import images_per_class
from nanogfl.data.lint.run import advise_before_training
from nanogfl.data.loader import Loader
from nanogfl.evaluate.coco_ap import NO_OBJECTS, Report, format_report
from nanogfl.evaluate.frequency import LVIS_LIMITS, by_frequency, format_frequency, frequency_figures
from nanogfl.loss.assist import AssistBranch
from nanogfl.loss.reach import measure_reach
from nanogfl.model.checkpoint import weights_digest
from nanogfl.model.detector import Detector, build_detector
from nanogfl.model.predictor import Predictor
from nanogfl.model.summary import count_complexity
from nanogfl.model.torch_threads import limit_torch_threads
from nanogfl.train.checkpointing.run_dir import (
    BEST,
    CURVES,
    GAMMA,
    PICTURE,
    go_on_command,
    going_on_after_errors,
    has_state,
    own_run_dir,
    require_state,
    write_config,
)
from nanogfl.train.checkpointing.saved import GoingOn, load_last
from nanogfl.train.checkpointing.state import RunState
from nanogfl.train.datasets import Data, list_problems, load_data, plain_truths
from nanogfl.train.device import choose_device, require_compiler
from nanogfl.train.distributed.meeting import joined
from nanogfl.train.distributed.ranks import Ranks
from nanogfl.train.distributed.settings import shared_settings
from nanogfl.train.ema import AveragedDetector
from nanogfl.train.epoch import run_epoch
from nanogfl.train.interrupt import Interrupt
from nanogfl.train.memory import keep_freed_memory
from nanogfl.train.optim import build_optimizer
from nanogfl.train.reports.curves import save_curves, save_validation_picture
from nanogfl.train.reports.focus import focus_entry, save_focus
from nanogfl.train.reports.progress import Progress
from nanogfl.train.reports.remarks import remarks
from nanogfl.train.start.freeze import FrozenParts
from nanogfl.train.start.norm_values import require_norm_values
from nanogfl.train.start.weights import fill, read_start
from nanogfl.train.step import TrainStep
from nanogfl.train.validate import validate

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Outcome:
    run_dir: Path
    best_ap: float | None
    """None where the validation set gives no AP"""
    best_epoch: int
    """of best.pt"""
    report: Report
    """of the last epoch"""

    def __str__(self) -> str:
        best = self.run_dir / BEST
        if self.best_ap is None:
            return f"no AP: {NO_OBJECTS}; the newest evaluated epoch, {self.best_epoch}, is {best}"
        return f"best AP {self.best_ap:.3f} after epoch {self.best_epoch}: {best}"


def train(config: Config, run_dir: Path, *, resume: bool | Literal["auto"] = False) -> Outcome:
    """Trains into `run_dir`: config.yaml, log.jsonl, last.pt and previous.pt, best.pt, curves.png, validation.png; with
    an equalized loss gamma.png.

    With `resume` it goes on from run_dir/last.pt, whatever it started from, and ends as if it had never been stopped;
    with "auto" where there is one, and starts where there is none: for what restarts trainings by itself.

    Raises UserError, and Interrupted when a signal ended it. In each of several processes that the environment tells of
    (train/distributed/launch.py, torchrun) it trains its share of every batch, and rank 0 alone writes and speaks.
    """
    device = choose_device(config.train.device)
    require_compiler(device, config.train.compile)
    with joined(device, config.train.timeout_minutes, shared_settings(config, device, resume=resume)) as ranks:
        run_dir = ranks.of_first(run_dir)
        return _train(config, run_dir, ranks.of_first(has_state(run_dir) if resume == "auto" else resume), ranks)


def _train(config: Config, run_dir: Path, resume: bool, ranks: Ranks) -> Outcome:
    if ranks.first or resume:
        require_state(run_dir, resume)
    device = ranks.device
    limit_torch_threads()
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    if device.type == "cpu":
        keep_freed_memory()
    cv2.setNumThreads(0)  # the loader has threads of its own
    with ranks.one_a_machine_first("reading the weights to start from and the images"):
        start = None if resume else read_start(config)
        data = load_data(config)
    ranks.require_same("data set", data.digest())
    if ranks.several:  # one process has nothing to read them for
        ranks.require_same("picture under an image's name", data.pixels_digest())
    if not ranks.shares_statistics(config.train):
        images = min(config.train.batch_size, len(data.train.images)) // ranks.place.world
        require_norm_values(config, len(data.train.classes), images)
    torch.manual_seed(config.train.seed)
    detector = share_statistics(build_detector(config.model, len(data.train.classes)), config, ranks)
    frozen = FrozenParts(detector, config.train.freeze)
    started_from: list[str] = []
    if start is not None:
        filled = fill(detector, config, data.train.classes, start)
        frozen.require_loaded(detector, filled.loaded)
        started_from = filled.lines
    pad, (rank, world, _) = bool(config.train.compile), ranks.place
    loader = Loader(data.train, config, data.train_frames, device, pad=pad, rank=rank, world=world)
    with own_run_dir(run_dir) if ranks.first else nullcontext():
        last = _take_over(run_dir, config, data, resume, loader, ranks)
        if last is not None:
            config = last.config
        progress = Progress(config, run_dir, silent=not ranks.first)
        if ranks.first:
            lines = [*started_from, *frozen.lines(), *ranks.lines(config), *remarks(config, data, loader)]
            _introduce(config, run_dir, data, detector, lines, progress)
        state = RunState(run_dir, config, data, build_step(config, detector, device, ranks), loader.steps)
        if last is not None:
            state.restore(last)
            if last.complaint is not None:
                progress.say(f"{last.complaint}; going on from {last.path}, {state.where()}")
            progress.say(f"resuming {state.where()}")
            for line in last.lines:
                progress.say(f"  {line}")
        if ranks.first:
            write_config(run_dir, config)
        return _train_epochs(state, frozen, loader, progress)


def _take_over(run_dir: Path, config: Config, data: Data, resume: bool, loader: Loader, ranks: Ranks) -> GoingOn | None:
    """The state to go on from, which rank 0 reads before the others: it may find last.pt damaged and put it aside."""
    if not ranks.first:
        ranks.meet("reading the run folder")
    if ranks.first or resume:
        require_state(run_dir, resume)  # another process may have trained meanwhile
    last = load_last(run_dir, config, data, loader.steps) if resume else None
    if ranks.first:
        ranks.meet("reading the run folder")
    ranks.require_same("saved state", last and weights_digest(last.checkpoint.weights))
    return last


def _introduce(
    config: Config, run_dir: Path, data: Data, detector: Detector, lines: list[str], progress: Progress
) -> None:
    list_problems(run_dir, progress, data.train, data.val)
    progress.say(f"frames: {data.train_frames.summary}")
    progress.say(f"detector: {count_complexity(detector)}")
    for line in lines:
        progress.say(line)
    finest = float(detector.grid.strides.min())
    for line in advise_before_training(data.train, data.val, config, finest_stride=finest, rare=LVIS_LIMITS[0]):
        progress.say(line)
    if config.model.head.bins:
        truths = plain_truths(data.train, config.model.input)
        progress.say(str(measure_reach(detector.grid, truths, config.loss)))


def _train_epochs(state: RunState, frozen: FrozenParts, loader: Loader, progress: Progress) -> Outcome:
    config, data, step, ranks = state.config, state.data, state.step, state.ranks
    predictor = Predictor(step.averaged.detector, config.model, data.train.classes)
    # who shows rare classes more often wants to see what it brings them
    tail = images_per_class(data.train).tolist() if config.data.repeat_threshold > 0 else []
    report: Report | None = None

    with (
        Interrupt(
            lambda: f"stopped {state.where()}, which is saved; go on with: {go_on_command(state.run_dir)}"
        ) as stop,
        progress,
        closing(loader.stream(state.epochs_done, config.train.epochs, state.batches_done)) as batches,
    ):
        for epoch in range(state.epochs_done, config.train.epochs):
            if state.out_of_patience():
                progress.say(f"no better AP for {config.train.patience} evaluations: ended early (train.patience)")
                break
            frozen.train_mode(*step.modules())
            entry = run_epoch(state, loader, batches, progress, stop)
            entry |= focus_entry(step.equalizer)
            evaluated = (epoch + 1) % config.train.eval_every == 0 or epoch + 1 == config.train.epochs
            if evaluated:
                state.save()  # validation may take longer than anybody waits
                stop.agree(ranks)
                stop.check()
                with stop.at_once():
                    report = validate(predictor, data.val, data.val_frames, ranks)
                entry |= _figures(report, tail)
            state.end_epoch(entry)
            progress.epoch(entry, state.best_ap or 0.0)
            if evaluated:
                _save_pictures(state, predictor, data)
            stop.agree(ranks)
            stop.check()

        if report is None:  # resumed after the last epoch
            with stop.at_once():
                report = validate(predictor, data.val, data.val_frames, ranks)
            if "ap" not in state.log[-1]:  # train.epochs was lowered to what is done
                state.end_epoch(state.log.pop() | _figures(report, tail))
            _save_pictures(state, predictor, data)  # the run may have ended before them
            stop.agree(ranks)
            stop.check()
    progress.say(format_report(report))
    if tail and not report.groups:
        progress.say(format_frequency(by_frequency(report, tail, LVIS_LIMITS)))
    return Outcome(state.run_dir, state.best_ap, state.best_epoch, report)


def _figures(report: Report, tail: list[int]) -> dict[str, Any]:
    """An evaluation's part of the log's entry."""
    figures = {"ap": report.ap, "ap50": report.ap50, "eval_seconds": report.seconds}
    return figures | (frequency_figures(report, tail) if tail or report.groups else {})


def _save_pictures(state: RunState, predictor: Predictor, data: Data) -> None:
    if not state.ranks.first:
        return
    with going_on_after_errors(state.run_dir):
        save_curves(state.run_dir / CURVES, state.log)
        save_validation_picture(state.run_dir / PICTURE, predictor, data.val)
        if state.step.equalizer is not None:
            save_focus(state.run_dir / GAMMA, state.log, data.train)


def share_statistics(module: Module, config: Config, ranks: Ranks) -> Module:
    """With batch norms of the whole batch, where several processes train on GPUs and train.sync_batch_norm says so."""
    if not ranks.shares_statistics(config.train):
        return module
    shared: Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    return shared


def build_step(config: Config, detector: Detector, device: torch.device, ranks: Ranks | None = None) -> TrainStep:
    """A fresh `detector`, and what trains it, on the device. All processes start from rank 0's weights."""
    ranks = ranks or Ranks(device)
    detector = detector.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = nn.ModuleList([detector])
    assist: AssistBranch | None = None
    if config.loss.assist:
        assist = share_statistics(AssistBranch(detector, config.loss, config.model.activation), config, ranks)
        trained.append(assist.to(device=device, memory_format=torch.channels_last))  # type: ignore[call-overload]
    ranks.spread(trained)
    averaged = AveragedDetector(detector, config.train.ema_decay)
    optimizer = build_optimizer(trained, config.train)
    return TrainStep(config, detector, averaged, optimizer, device, assist, ranks)
