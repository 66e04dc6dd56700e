"""Callbacks see the whole training, change nothing of it, and an exception of theirs loses nothing."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from nanogfl.config import Config
from nanogfl.errors import Interrupted
from nanogfl.training import loop
from nanogfl.training.callbacks import Callback
from nanogfl.training.loop import train
from nanogfl.training.step import TrainStep
from tests.training.test_interrupt import send_at
from tests.training.test_loop import fingerprint


@pytest.fixture
def short(tiny: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    """2 epochs, the second one is evaluated."""
    monkeypatch.setattr(loop, "_save_pictures", lambda *_: None)
    return replace(tiny, train=replace(tiny.train, epochs=2, precision="fp32"))


class Recorder(Callback):
    """Notes what it is told, draws random numbers, and changes what it is given."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def training_started(self, begun):
        self.told.append(("started", begun.classes, begun.epochs_done, begun.resumed))
        torch.rand(3)

    def evaluation_done(self, epoch, report):
        self.told.append(("evaluated", epoch, report.images))
        torch.rand(3)

    def checkpoint_written(self, path):
        assert path.exists()
        self.told.append(("written", path.name))

    def epoch_ended(self, entry):
        self.told.append(("epoch", entry["epoch"], "ap" in entry))
        entry.clear()
        torch.rand(3)

    def training_ended(self, outcome, error):
        self.told.append(("ended", outcome and outcome.best_epoch, type(error)))


STARTED = ("rectangle", "ellipse")
LAST, BEST = ("written", "last.pt"), ("written", "best.pt")


def test_they_are_told_everything_in_order_and_leave_the_training_as_it_is(short, tmp_path):
    recorder = Recorder()
    outcome = train(short, tmp_path / "told", callbacks=[recorder])
    assert recorder.told == [
        ("started", STARTED, 0, False),
        *(LAST, ("epoch", 1, False)),
        *(LAST, ("evaluated", 2, outcome.report.images), BEST, LAST, ("epoch", 2, True)),
        ("ended", 2, type(None)),
    ]
    train(short, tmp_path / "alone")
    assert fingerprint(tmp_path / "told") == fingerprint(tmp_path / "alone")
    state, same = (torch.load(tmp_path / name / "last.pt")["training"]["torch_rng"] for name in ("told", "alone"))
    assert torch.equal(state, same)


def test_a_resumed_run_says_so_and_a_signal_is_the_error_at_the_end(short, tmp_path, monkeypatch):
    recorder = Recorder()
    with monkeypatch.context() as patch, pytest.raises(Interrupted):  # noqa: PT012
        send_at(patch, TrainStep, "accumulate", 2, 15)
        train(short, tmp_path / "run", callbacks=[recorder])
    assert recorder.told[-1] == ("ended", None, Interrupted)
    recorder.told.clear()
    train(short, tmp_path / "run", resume=True, callbacks=[recorder])
    assert recorder.told[0] == ("started", STARTED, 1, True)


class Failing(Callback):
    def epoch_ended(self, entry):
        raise KeyError("mine")


def test_an_exception_reaches_the_caller_and_the_saved_run_goes_on(short, tmp_path):
    recorder = Recorder()
    with pytest.raises(KeyError, match="mine"):
        train(short, tmp_path / "run", callbacks=[recorder, Failing()])
    assert recorder.told[-2:] == [("epoch", 1, False), ("ended", None, KeyError)]
    assert not (tmp_path / "run/train.lock").exists()
    train(short, tmp_path / "run", resume=True)
    train(short, tmp_path / "alone")
    assert fingerprint(tmp_path / "run") == fingerprint(tmp_path / "alone")
