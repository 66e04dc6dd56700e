"""Ctrl-C and SIGTERM: the update is finished, the state saved, the way on said; and nobody's handlers are lost."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from nanogfl.cli.main import nanogfl
from nanogfl.config import Config
from nanogfl.errors import STOP_SIGNALS, Interrupted
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.training import loop
from nanogfl.training.interrupt import Interrupt
from nanogfl.training.loop import train
from nanogfl.training.step import TrainStep
from tests.thinned import thinned
from tests.training.test_loop import fingerprint


@pytest.fixture
def short(tiny: Config) -> Config:
    """2 epochs of 3 batches, updates after batches 2 and 3 of each, saved at an epoch's end."""
    knobs = {"epochs": 2, "batch_size": 3, "accumulate": 2, "precision": "fp32", "save_every": 60.0}
    return replace(tiny, train=replace(tiny.train, **knobs))


@pytest.fixture
def whole(short: Config, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, str]:
    """The fingerprint of the uninterrupted run, trained once."""
    if not hasattr(request.module, "_whole"):
        folder = tmp_path_factory.mktemp("whole") / "run"
        train(short, folder)
        request.module._whole = fingerprint(folder)
    return dict(request.module._whole)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_save_pictures", lambda *_: None)


@pytest.fixture(autouse=True)
def _handlers_are_put_back():
    """However the tests were started: a background job ignores Ctrl-C, nohup a closed terminal."""
    usual = dict.fromkeys(STOP_SIGNALS, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == usual
    for number, handler in before.items():
        signal.signal(number, handler)


def send_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int, *numbers: int) -> None:
    """The signals come before the `call`-th call, counted from 1."""
    real, calls = getattr(owner, name), 0

    def sending(*arguments, **keys):
        nonlocal calls
        calls += 1
        if calls == call:
            for number in numbers:
                os.kill(os.getpid(), number)
        return real(*arguments, **keys)

    monkeypatch.setattr(owner, name, sending)


@pytest.mark.parametrize(
    ("number", "code"),
    thinned([(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], (signal.SIGINT, 130)),
)
def test_a_signal_lets_the_update_finish_and_saves(short, whole, tmp_path, monkeypatch, number, code):
    run = tmp_path / "my run"
    with monkeypatch.context() as patch, pytest.raises(Interrupted) as caught:  # noqa: PT012
        send_at(patch, TrainStep, "accumulate", 4, number)  # the first batch of the second epoch's first group
        train(short, run)
    assert caught.value.exit_code == code
    assert str(caught.value) == (
        "stopped in epoch 2 of 2, after batch 2 of 3, which is saved; go on with: nanogfl train"
        f" '{run / 'config.yaml'}' --run-dir '{run}' --resume"
    )
    assert load_checkpoint(run / "last.pt").training["unfinished"]["batches"] == 2
    train(short, run, resume=True)
    assert fingerprint(run) == whole


def test_a_signal_in_the_validation_ends_it_at_once_with_the_epoch_kept(short, whole, tmp_path, monkeypatch):
    after: list[bool] = []

    def validating(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)
        after.append(True)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "validate", validating)
        with pytest.raises(Interrupted, match=r"stopped in epoch 2 of 2, after batch 3 of 3, which is saved"):
            train(short, tmp_path / "run")
    assert not after
    train(short, tmp_path / "run", resume=True)
    assert fingerprint(tmp_path / "run") == whole


def test_a_signal_at_the_end_of_an_epoch_stops_after_it(short, tmp_path, monkeypatch):
    send_at(monkeypatch, TrainStep, "update", 2, signal.SIGTERM)
    with pytest.raises(Interrupted, match="stopped after epoch 1 of 2, which is saved"):
        train(short, tmp_path / "run")


def test_the_second_ctrl_c_ends_at_once(short, tmp_path, monkeypatch):
    send_at(monkeypatch, TrainStep, "accumulate", 4, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(short, tmp_path / "run")
    assert not isinstance(caught.value, Interrupted)
    assert load_checkpoint(tmp_path / "run/last.pt").training["unfinished"] is None
    assert not (tmp_path / "run/train.lock").exists()


@pytest.mark.parametrize("second", thinned([signal.SIGTERM, signal.SIGHUP], signal.SIGHUP))
def test_other_signals_that_come_twice_are_one(short, tmp_path, monkeypatch, second):
    """A service manager tells every process, and its launcher passes that on; a closed terminal says it twice."""
    run = tmp_path / "run"
    send_at(monkeypatch, TrainStep, "accumulate", 4, signal.SIGTERM, second)
    with pytest.raises(Interrupted, match="stopped in epoch 2 of 2, after batch 2 of 3, which is saved"):
        train(short, run)
    assert load_checkpoint(run / "last.pt").training["unfinished"]["batches"] == 2
    assert not (run / "train.lock").exists()


def test_a_training_in_a_thread_leaves_signals_alone(short, tmp_path):
    outcomes: list[object] = []
    thread = threading.Thread(target=lambda: outcomes.append(train(short, tmp_path / "run")))
    thread.start()
    thread.join()
    assert len(outcomes) == 1


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt(lambda: "") as interrupt:
            os.kill(os.getpid(), signal.SIGINT)
            interrupt.check()
            assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_nanogfl_train_says_how_to_go_on_and_that_goes_on(short, tmp_path, monkeypatch, capsys):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(short.to_dict()))
    run = tmp_path / "run"
    arguments = ["train", str(tmp_path / "r.yaml"), "--run-dir", str(run), "--set", "train.epochs=1"]
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:  # noqa: PT012
        send_at(patch, TrainStep, "accumulate", 1, signal.SIGINT)
        nanogfl.main(arguments, standalone_mode=False)
    assert caught.value.code == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nanogfl: stopped in epoch 1 of 1, after batch 2 of 3, which is saved; go on with: nanogfl ")
    nanogfl.main(line.partition("go on with: nanogfl ")[2].split(), standalone_mode=False)
    assert load_checkpoint(run / "last.pt").training["epoch"] == 1


def test_nanogfl_ablate_ends_as_a_whole_and_the_same_command_goes_on(short, tmp_path, monkeypatch, capsys):
    content = short.to_dict()
    for key in ("epochs", "seed"):
        del content["train"][key]
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "a.yaml").write_text(
        "base: r.yaml\nseeds: [0]\nbudget: {epochs: 1}\nrows: {a: {}, b: {set: {loss.beta: 1}}}\n"
    )
    arguments = ["ablate", str(tmp_path / "a.yaml"), "--out", str(tmp_path / "out")]
    for signals in ((signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)):
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:  # noqa: PT012
            send_at(patch, TrainStep, "accumulate", 1, *signals)
            nanogfl.main(arguments, standalone_mode=False)
        assert caught.value.code == (143 if len(signals) == 1 else 130)
        assert capsys.readouterr().err.endswith("stopped; what is trained is saved, the same command goes on\n")
    unfinished = load_checkpoint(tmp_path / "out/a/seed0/last.pt").training["unfinished"]
    assert unfinished["batches"] == 2
    assert not (tmp_path / "out/b").exists()
    nanogfl.main(arguments, standalone_mode=False)
    assert "going on, 1 epochs" in capsys.readouterr().out
    assert (tmp_path / "out/b/seed0/result.json").exists()


@pytest.mark.slow
def test_a_process_that_is_told_to_end_exits_with_143_and_its_line(short, tmp_path):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(replace(short, train=replace(short.train, epochs=5000)).to_dict()))
    command = [sys.executable, "-m", "nanogfl", "train", str(tmp_path / "r.yaml"), "--run-dir", str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=-1, stderr=-1, text=True, env={**environment, "PYTHONUNBUFFERED": "1"}
    ) as child:
        for line in child.stdout:
            if line.startswith("epoch 1/"):
                child.terminate()
        told = child.stderr.read()
    assert child.returncode == 143
    assert "stopping after this update of the weights; one more Ctrl-C ends at once" in told
    assert "which is saved; go on with: nanogfl train" in told.splitlines()[-1]
    assert (tmp_path / "run/last.pt").exists()
