"""Training, top to bottom."""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import cv2
import torch

from nanogfl.config import Config
from nanogfl.data.class_counts import images_per_class
from nanogfl.data.loader import Batch, Loader
from nanogfl.evaluation.coco_ap import Report, format_report
from nanogfl.evaluation.frequency import LVIS_LIMITS, by_frequency, format_frequency, frequency_figures
from nanogfl.model.checkpoint import weights_digest
from nanogfl.model.detector import build_detector
from nanogfl.model.predictor import Predictor
from nanogfl.model.torch_threads import limit_torch_threads
from nanogfl.training.callbacks import Begun, Callback, Callbacks
from nanogfl.training.callbacks import Outcome as Outcome  # what train returns
from nanogfl.training.checkpointing.run_dir import (
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
from nanogfl.training.checkpointing.saved import GoingOn, load_last
from nanogfl.training.checkpointing.state import RunState
from nanogfl.training.datasets import Data, load_data
from nanogfl.training.device import choose_device, keep_freed_memory, require_compiler
from nanogfl.training.distill.lessons import Lessons
from nanogfl.training.distill.teacher import describe, read_teacher
from nanogfl.training.distributed.meeting import joined, shared_settings
from nanogfl.training.distributed.ranks import Ranks
from nanogfl.training.interrupt import Interrupt
from nanogfl.training.minutes.budget import Budget
from nanogfl.training.minutes.plan import is_due
from nanogfl.training.minutes.planning import plan_rest, plan_run
from nanogfl.training.optim import learning_rate
from nanogfl.training.reports.diagnose import no_longer_finite
from nanogfl.training.reports.loggers import build_loggers
from nanogfl.training.reports.pictures import focus_entry, save_curves, save_focus, save_validation_picture
from nanogfl.training.reports.progress import Progress
from nanogfl.training.reports.remarks import introduce
from nanogfl.training.start.freeze import FrozenParts
from nanogfl.training.start.norm_values import require_norm_values
from nanogfl.training.start.weights import fill, read_start
from nanogfl.training.step import build_step, share_statistics
from nanogfl.training.validate import validate

READ_EVERY = 10  # steps between reads of the loss: a read waits for the device


def train(
    config: Config,
    run_dir: Path,
    *,
    resume: bool | Literal["auto"] = False,
    callbacks: Sequence[Callback] = (),
    silent: bool = False,
    started: float | None = None,
    reserve: float = 0.0,
) -> Outcome:
    """Trains into `run_dir`: config.yaml, log.jsonl, last.pt and previous.pt, best.pt, curves.png, validation.png, and
    gamma.png with an equalized loss.

    With `resume` the run goes on from run_dir/last.pt and ends as if it had never been stopped. "auto" starts a new run
    where there is none yet: one command for services and queues that restart trainings.

    `callbacks` are called by rank 0, before those of train.loggers (training/callbacks.py). `silent` prints nothing.

    train.minutes count from `started` (as `time.perf_counter()`, now by default), and `reserve` seconds of them are
    left for what follows the training.

    In each of several processes (`nanogfl train --devices N`, torchrun) it trains its share of every batch; rank 0
    alone writes and speaks. Raises UserError, and Interrupted when a signal ended the training.
    """
    minutes = config.train.minutes
    budget = Budget(minutes, started=started, reserve=reserve) if minutes else None
    device = choose_device(config.train.device)
    require_compiler(device, config.train.compile)
    with joined(device, config.train.timeout_minutes, shared_settings(config, device, resume=resume)) as ranks:
        run_dir = ranks.of_first(run_dir)
        going_on = ranks.of_first(has_state(run_dir) if resume == "auto" else resume)
        told = Callbacks([*callbacks, *build_loggers(config.train.loggers)] if ranks.first else [])
        return _train(config, run_dir, going_on, ranks, told, silent, budget)


def _train(
    config: Config,
    run_dir: Path,
    resume: bool,
    ranks: Ranks,
    callbacks: Callbacks,
    silent: bool,
    budget: Budget | None,
) -> Outcome:
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
        if start is not None:
            config = replace(config, train=replace(config.train, init_from=start.init_from))
        teacher = read_teacher(config)
        data = load_data(config)
    ranks.require_same("data set", data.digest())
    teacher_sha256 = None if teacher is None else teacher.sha256
    ranks.require_same("teacher", teacher_sha256)
    if ranks.several:  # one process need not read the pixels
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
    lessons = None if teacher is None else Lessons(teacher, detector, data.train.classes, config)
    pad, (rank, world, _) = bool(config.train.compile), ranks.place
    loader = Loader(data.train, config, data.train_frames, device, pad=pad, rank=rank, world=world)
    with own_run_dir(run_dir) if ranks.first else nullcontext():
        last = _take_over(run_dir, config, data, teacher_sha256, resume, loader, ranks)
        if last is not None:
            config = loader.config = last.config
        progress = Progress(config, run_dir, silent=silent or not ranks.first)
        if ranks.first:
            lines = [*started_from, *frozen.lines(), *ranks.lines(config)]
            if lessons is not None:
                lines += describe(lessons.teacher, lessons.pairing, detector, data.train.classes, config)
            introduce(config, run_dir, data, loader, detector, lines, progress)
        step = build_step(config, detector, device, ranks, lessons)
        state = RunState(run_dir, config, data, step, loader.steps)
        state.budget = budget
        if last is not None:
            state.restore(last)
            if last.complaint is not None:
                progress.say(f"{last.complaint}; going on from {last.path}, {state.where()}")
            progress.say(f"resuming {state.where()}")
            for line in last.lines:
                progress.say(f"  {line}")
        elif budget is not None:
            plan_run(state, frozen, loader, progress, budget)
            config = state.config
        if ranks.first:
            write_config(run_dir, config)
        state.wrote = lambda path: callbacks.tell(lambda callback: callback.checkpoint_written(path))
        with callbacks.started(Begun(run_dir, config, data.train.classes, state.epochs_done, resume)):
            callbacks.outcome = _train_epochs(state, frozen, loader, progress, callbacks)
    return callbacks.outcome


def _take_over(
    run_dir: Path, config: Config, data: Data, teacher: str | None, resume: bool, loader: Loader, ranks: Ranks
) -> GoingOn | None:
    """The state to go on from. Rank 0 reads it before the others: it may find last.pt damaged and put it aside."""
    if not ranks.first:
        ranks.meet("reading the run folder")
    if ranks.first or resume:
        require_state(run_dir, resume)  # another process may have trained meanwhile
    last = load_last(run_dir, config, data, loader.pass_steps, teacher) if resume else None
    if ranks.first:
        ranks.meet("reading the run folder")
    ranks.require_same("saved state", last and weights_digest(last.checkpoint.weights))
    return last


def _train_epochs(
    state: RunState, frozen: FrozenParts, loader: Loader, progress: Progress, callbacks: Callbacks
) -> Outcome:
    data, step, ranks, budget = state.data, state.step, state.ranks, state.budget
    predictor = Predictor(step.averaged.detector, state.config.model, data.train.classes)
    # with repeat sampling on, the AP of rare classes is shown as well
    tail = images_per_class(data.train).tolist() if state.config.data.repeat_threshold > 0 else []
    report: Report | None = None

    def timing(part: str) -> AbstractContextManager[None]:
        return nullcontext() if budget is None else budget.timing(part)

    def evaluate(epoch: int) -> Report:
        with stop.at_once(), timing("evaluation"):
            report = validate(predictor, data.val, data.val_frames, ranks, most=state.config.train.eval_images)
        callbacks.tell(lambda callback: callback.evaluation_done(epoch, report))
        return report

    def stream() -> Generator[Batch]:
        return loader.stream(state.epochs_done, state.config.train.epochs, state.batches_done)

    with (
        Interrupt(
            lambda: f"stopped {state.where()}, which is saved; go on with: {go_on_command(state.run_dir)}"
        ) as stop,
        progress,
        ExitStack() as open_streams,
    ):
        batches = open_streams.enter_context(closing(stream()))
        while state.epochs_done < state.config.train.epochs:
            epoch, train = state.epochs_done, state.config.train
            if state.out_of_patience():
                progress.say(f"no better AP for {train.patience} evaluations: ended early (train.patience)")
                break
            frozen.train_mode(*step.modules())
            entry = run_epoch(state, loader, batches, progress, stop)
            entry |= focus_entry(step.equalizer)
            evaluated = (epoch + 1) % train.eval_every == 0 or epoch + 1 == train.epochs
            if evaluated:
                state.save()  # the validation may take long
                stop.agree(ranks)
                stop.check()
                report = evaluate(epoch + 1)
                entry |= _figures(report, tail)
            if budget is not None and is_due(train, epoch + 1):
                plan_rest(state, loader, progress, budget, entry, evaluated)
            if budget is not None:
                entry |= {"epochs_planned": state.config.train.epochs, "spent": budget.spent()}
            with timing("ending"):
                state.end_epoch(entry)
            if state.config.train != train:
                if ranks.first:
                    write_config(state.run_dir, state.config)
                batches.close()  # those ahead were made for the former plan
                batches = open_streams.enter_context(closing(stream()))
            progress.epoch(entry, state.best_ap or 0.0)
            callbacks.tell(lambda callback, entry=entry: callback.epoch_ended(dict(entry)))  # type: ignore[misc]
            if evaluated:
                with timing("pictures"):
                    _save_pictures(state, predictor, data)
            stop.agree(ranks)
            stop.check()

        if report is None:  # resumed after the last epoch
            report = evaluate(state.epochs_done)
            if "ap" not in state.log[-1]:  # train.epochs was lowered to what is done
                state.end_epoch(state.log.pop() | _figures(report, tail))
            _save_pictures(state, predictor, data)  # the run may have ended before them
            stop.agree(ranks)
            stop.check()
    progress.say(format_report(report))
    if tail and not report.groups:
        progress.say(format_frequency(by_frequency(report, tail, LVIS_LIMITS)))
    return Outcome(state.run_dir, state.best_ap, state.best_epoch, report)


def run_epoch(
    state: RunState, loader: Loader, batches: Iterator[Batch], progress: Progress, interrupt: Interrupt
) -> dict[str, Any]:
    """Trains the rest of the unfinished epoch. Returns the log's entry of the whole epoch.

    Saves the state when that is due, and before it raises Interrupted. Raises UserError for a loss that is not finite.
    """
    config, step, epoch = loader.config, state.step, state.epochs_done
    train, groups = config.train, math.ceil(loader.steps / config.train.accumulate)
    detach_guide = epoch >= config.loss.assist_detach_epochs
    started, loader.waited = time.perf_counter() - state.seconds, state.waited
    if not state.batches_done:
        step.sums.zero_()
    for batch in islice(batches, loader.steps - state.batches_done):
        # every group has `accumulate` batches, but the epoch's last one has what is left
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
                _means(state, loader)  # raises: a state that is not finite is not saved
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
    """Mean losses of the epoch's batches so far. Raises UserError where one is not finite. Waits for the device."""
    sums, bad_step = state.step.read()
    if bad_step is not None:
        raise no_longer_finite(bad_step, state, loader)
    return {name: value / state.batches_done for name, value in zip(state.step.logged, sums, strict=True)}


def _figures(report: Report, tail: list[int]) -> dict[str, Any]:
    """What an evaluation adds to the log's entry."""
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
