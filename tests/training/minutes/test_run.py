"""Trainings with train.minutes by a clock of the test's own: in time, to the bit, resumed."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from nanogfl.config import AugmentConfig, Config, LossConfig
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import load_checkpoint, weights_digest
from nanogfl.recipe import config_from_dict
from nanogfl.training import loop
from nanogfl.training.checkpointing.state import RunState
from nanogfl.training.loop import train
from nanogfl.training.minutes import budget, measure
from nanogfl.training.step import TrainStep

pytestmark = pytest.mark.slow


class Clock:
    """Passes only where work is done: seconds per batch, per evaluated image, per pictures, per save."""

    def __init__(self) -> None:
        self.now, self.batch, self.begun = 1000.0, 1.6, 0
        self.trains = True
        """false: a step changes nothing, for tests of the time alone"""
        self.at_batch = lambda number: None
        """called with the number of a batch, from 1, before it is trained"""

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    for module in (loop, budget, measure):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    real_batch, real_save = TrainStep.accumulate, RunState.save

    def batch(step, *arguments, **keys):
        clock.begun += 1
        clock.at_batch(clock.begun)
        clock.now += clock.batch
        if clock.trains:
            real_batch(step, *arguments, **keys)

    def validate(real):
        def timed(predictor, dataset, frames, ranks, *, most):
            clock.now += 0.1 * min(most or 3, 3)
            return real(predictor, dataset, frames, ranks, most=most)

        return timed

    def save(state):
        clock.now += 0.2
        real_save(state)

    def draw(*_):
        clock.now += 1.0

    def measured_save(*_):
        clock.now += 0.2

    monkeypatch.setattr(TrainStep, "accumulate", batch)
    monkeypatch.setattr(RunState, "save", save)
    monkeypatch.setattr(loop, "validate", validate(loop.validate))
    monkeypatch.setattr(measure, "validate", validate(measure.validate))
    monkeypatch.setattr(loop, "_save_pictures", draw)
    monkeypatch.setattr(measure, "save_curves", draw)
    monkeypatch.setattr(measure, "save_validation_picture", lambda *_: None)
    monkeypatch.setattr(measure, "save_checkpoint", measured_save)
    return clock


@pytest.fixture
def minute(tiny: Config) -> Config:
    """A minute, which has about 25 of the test's updates."""
    augment = AugmentConfig(mosaic=0.5, mixup=0.5, plain_end=0.15)
    return replace(
        tiny, data=replace(tiny.data, cache="memory"), augment=augment, train=replace(tiny.train, minutes=1.0)
    )


def trained(run_dir: Path) -> list[str]:
    """Digests of everything that is trained, and the losses and APs on the way."""
    last = load_checkpoint(run_dir / "last.pt")
    state = last.training
    moments = {f"{n}.{key}": value for n, of in state["optimizer"]["state"].items() for key, value in of.items()}
    account = state["equalizer"] or {}
    tensors = (last.weights, state["detector"], state["assist"] or {}, account, moments, {"rng": state["torch_rng"]})
    figures = [(entry["loss"], entry["lr"], entry.get("ap")) for entry in state["log"]]
    return [*map(weights_digest, tensors), json.dumps(figures), str(state["ema_updates"])]


def written(run_dir: Path) -> Config:
    return config_from_dict(yaml.safe_load((run_dir / "config.yaml").read_text()), "config.yaml")


def without_clock(config: Config) -> Config:
    return replace(config, train=replace(config.train, minutes=0.0))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(LossConfig(), id="usual"),
        pytest.param(LossConfig(classification="eqfl"), id="eqfl", marks=pytest.mark.exhaustive),
        pytest.param(LossConfig(assigner="dsla", assist=True, assist_channels=16), id="assist"),
    ],
)
def test_a_run_ends_in_time_and_its_config_without_a_clock_repeats_it_to_the_bit(minute, clock, tmp_path, capsys, kind):
    config, start = replace(minute, loss=kind), clock.now
    train(config, tmp_path / "timed")
    assert clock.now - start == pytest.approx(60, rel=0.06)
    assert "1 minute: " in said(capsys)
    planned = written(tmp_path / "timed")
    assert planned.train.minutes == 1
    assert planned.train.epochs * (planned.train.epoch_batches or 2) == pytest.approx(26, abs=6)
    log = [json.loads(line) for line in (tmp_path / "timed" / "log.jsonl").read_text().splitlines()]
    assert log[0]["epochs_planned"] == len(log) == planned.train.epochs
    assert not (tmp_path / "timed" / "measuring").exists()

    train(without_clock(planned), tmp_path / "fixed", silent=True)
    assert trained(tmp_path / "fixed") == trained(tmp_path / "timed")


def test_a_run_whose_steps_become_slower_is_planned_again_ends_in_time_and_can_be_repeated(
    minute, clock, tmp_path, capsys
):
    def slow(number):
        clock.batch = 2.8 if number > 14 else 1.6

    clock.at_batch, start = slow, clock.now
    train(minute, tmp_path / "timed")
    assert clock.now - start == pytest.approx(60, rel=0.10)
    assert "planned again after epoch" in said(capsys)
    planned = written(tmp_path / "timed")
    assert 1 <= len(planned.train.pace) <= 2
    assert load_checkpoint(tmp_path / "timed" / "last.pt").config == planned
    train(without_clock(planned), tmp_path / "fixed", silent=True)
    assert trained(tmp_path / "fixed") == trained(tmp_path / "timed")


class PowerCut(BaseException):
    pass


def test_a_run_that_is_resumed_keeps_its_plan_and_the_time_it_was_away_does_not_count(minute, clock, tmp_path):
    config = replace(minute, train=replace(minute.train, save_every=0.0))
    train(config, tmp_path / "whole", silent=True)

    def cut(number):
        if number == 20:
            raise PowerCut

    clock.at_batch, clock.begun = cut, 0
    start = clock.now
    with pytest.raises(PowerCut):
        train(config, tmp_path / "cut", silent=True)
    spent = load_checkpoint(tmp_path / "cut" / "last.pt").training["times"]["spent"]
    assert spent == pytest.approx(clock.now - start, abs=1.5)
    clock.now += 5000
    away = clock.now
    train(config, tmp_path / "cut", resume=True, silent=True)
    assert written(tmp_path / "cut").train.epochs == written(tmp_path / "whole").train.epochs
    assert trained(tmp_path / "cut") == trained(tmp_path / "whole")
    assert spent + clock.now - away == pytest.approx(60, rel=0.10)  # it was saved after every update


def test_other_minutes_are_refused_for_a_run_and_0_goes_on_by_the_numbers_that_are_given(minute, clock, tmp_path):
    run = tmp_path / "run"
    train(minute, run, silent=True)
    planned = written(run)
    with pytest.raises(
        UserError, match=r"was planned for 1 minutes, which cannot become 2: .*or 0 and the train\.epochs"
    ):
        train(replace(minute, train=replace(minute.train, minutes=2.0)), run, resume=True)
    longer = replace(planned.train, minutes=0.0, epochs=planned.train.epochs + 1)
    train(replace(planned, train=longer), run, resume=True, silent=True)
    assert load_checkpoint(run / "last.pt").facts["epoch"] == longer.epochs
    with pytest.raises(UserError, match=r"was started without train\.minutes"):
        train(minute, run, resume=True)


def test_time_before_and_after_the_training_is_part_of_it(minute, clock, tmp_path):
    start, clock.trains, clock.batch = clock.now, False, 0.5
    train(minute, tmp_path / "run", silent=True, started=start - 10, reserve=12.0)
    assert clock.now - start == pytest.approx(60 - 10 - 12, abs=3)


def test_too_little_time_leaves_no_run_behind_that_would_be_in_the_way(minute, clock, tmp_path):
    clock.trains = False
    short = replace(minute, train=replace(minute.train, minutes=0.2))
    with pytest.raises(UserError, match=r"train\.minutes 0\.2 is too short.*give at least 0\.\d"):
        train(short, tmp_path / "run", silent=True)
    train(minute, tmp_path / "run", silent=True)


def test_a_new_run_with_the_config_of_a_planned_one_is_planned_afresh(minute, clock, tmp_path):
    clock.trains = False
    train(minute, tmp_path / "first", silent=True)
    before = replace(written(tmp_path / "first").train, epochs=50, pace=((10, 40),), eval_images=1, epoch_batches=9)
    train(replace(minute, train=before), tmp_path / "second", silent=True)
    assert written(tmp_path / "second").train == written(tmp_path / "first").train
