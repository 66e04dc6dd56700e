"""What the parts of a run cost on this machine, measured before its first step by doing each of them."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch

from nanogfl.data.loader import Loader
from nanogfl.model.checkpoint import save_checkpoint
from nanogfl.model.predictor import Predictor
from nanogfl.training.checkpointing.run_dir import BEST, CURVES, LAST, MEASURING, PICTURE, going_on_after_errors
from nanogfl.training.checkpointing.state import RunState
from nanogfl.training.minutes.plan import Costs
from nanogfl.training.reports.pictures import save_curves, save_validation_picture
from nanogfl.training.start.freeze import FrozenParts
from nanogfl.training.validate import validate

SHARE, LONGEST = 0.04, 20.0
"""share of the run's time that the trial steps take, and its limit in seconds"""
EVALUATED = 0.015
"""share of the run's time that an evaluation must take to be measured, unless it is of all images"""
FIRST, LEAST = 2, 3
"""batches before the measurement and in it, at least"""
READ_EVERY = 10
"""steps between two waits for a GPU, as in a training"""


def measure(state: RunState, frozen: FrozenParts, loader: Loader, seconds: float) -> Costs:
    """Rank 0's costs, in every rank. `seconds`: of the whole run.

    Afterwards weights, optimizer, average and random state are put back. So the run is a function of its plan alone,
    and one with the plan's numbers and no clock repeats it to the bit.
    """
    step, ranks = state.step, state.ranks
    with torch.random.fork_rng(devices=[]), step.undone():
        frozen.train_mode(*step.modules())
        batch = _batch_seconds(state, loader, min(SHARE * seconds, LONGEST))
        image = _image_seconds(state, EVALUATED * seconds)
        pictures, ending = _file_seconds(state) if ranks.first else (0.0, 0.0)
    return ranks.of_first(Costs(batch, image, pictures, ending))


def _batch_seconds(state: RunState, loader: Loader, seconds: float) -> float:
    """Trains for about `seconds`. The first batches do not count: memory is found, and batches are ready from before
    the first step, however slowly they are made."""
    step, ranks, accumulate = state.step, state.ranks, state.config.train.accumulate
    every = 1 if step.device.type == "cpu" else READ_EVERY
    ready = loader.config.data.workers + 3
    for group in step.optimizer.param_groups:
        group["lr"] = 0.0
    began: float | None = None  # after the first step, which may compile
    first: tuple[int, float] | None = None
    batches = loader.stream(0, 1_000_000_000)
    try:
        for number in count(1):
            step.accumulate(next(batches), 0, detach_guide=False, share=1 / accumulate)
            if number % accumulate == 0:
                step.update(0)
            if number % every:
                continue
            step.read()
            now = time.perf_counter()
            began = now if began is None else began
            if first is None:
                if ranks.of_first(number >= FIRST and (number >= ready or now - began >= seconds / 2)):
                    first = number, now
            elif ranks.of_first(number - first[0] >= LEAST and now - began >= seconds):
                return (now - first[1]) / (number - first[0])
    finally:
        batches.close()
    raise AssertionError


def _image_seconds(state: RunState, seconds: float) -> float:
    """Evaluates ever more images until that takes `seconds`. Every one has as many detections as there can be: more
    than those of a trained detector, which take a little less."""
    data, model = state.data, state.config.model
    generous = replace(model, selection=replace(model.selection, score=0.0))
    predictor = Predictor(state.step.averaged.detector, generous, data.train.classes)
    most = 4
    while True:
        start = time.perf_counter()
        report = validate(predictor, data.val, data.val_frames, state.ranks, most=most)
        taken = time.perf_counter() - start
        if state.ranks.of_first(taken >= seconds or most >= len(data.val.images)):
            return taken / report.images
        most *= 4


def _file_seconds(state: RunState) -> tuple[float, float]:
    """Of the pictures after an evaluation, and of saving last.pt."""
    predictor = Predictor(state.step.averaged.detector, state.config.model, state.data.train.classes)
    with going_on_after_errors(state.run_dir), _folder(state.run_dir / MEASURING) as folder:
        start = time.perf_counter()
        save_curves(folder / CURVES, [{"epoch": 1, "loss": 1.0}])
        save_validation_picture(folder / PICTURE, predictor, state.data.val)
        drawn = time.perf_counter()
        save_checkpoint(folder / BEST, state.averaged())  # the first save of a process takes longer
        saved = time.perf_counter()
        save_checkpoint(folder / LAST, state.whole())
        return drawn - start, time.perf_counter() - saved


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    path.mkdir(exist_ok=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
