"""TensorBoard for real; MLflow and Weights & Biases by stand-ins with the signatures of mlflow 3.17 and wandb 0.31.

The real libraries were run with the same calls (MLflow's file store, wandb offline).
"""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nanogfl.config import Config
from nanogfl.errors import Interrupted, UserError
from nanogfl.recipe import load_config
from nanogfl.training import loop
from nanogfl.training.callbacks import Begun, Callbacks
from nanogfl.training.loop import train
from nanogfl.training.reports.loggers import build_loggers
from tests.training.test_loop import fingerprint

ENTRY = {"epoch": 3, "step": 9, "loss": 1.5, "ap": None, "gamma": [1.0, 2.0]}


class LoggerError(Exception):
    """mlflow.exceptions.MlflowException, wandb.errors.Error."""


class FakeMlflow(ModuleType):
    exceptions = SimpleNamespace(MlflowException=LoggerError)

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.calls: list[Any] = []
        self.active = None
        self.down = False

    def active_run(self):
        return self.active

    def start_run(self, run_id: str | None = None, experiment_id=None, run_name: str | None = None, nested=False):
        self.calls.append(("start", run_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id or "abc"))

    def log_params(self, params: dict[str, Any], synchronous=None, run_id=None):
        assert 0 < len(params) <= 100
        self.calls.append(("params", len(params)))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None, synchronous=None, run_id=None):
        if self.down:
            raise LoggerError("no answer\nand a long story")
        self.calls.append(("metrics", metrics, step))

    def end_run(self, status: str = "FINISHED") -> None:
        self.calls.append(("end", status))


class FakeWandb(ModuleType):
    errors = SimpleNamespace(Error=LoggerError)

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[Any] = []

    def init(self, entity=None, project=None, dir=None, id=None, name=None, notes=None, config=None, resume=None):
        assert Path(dir).is_dir()
        self.calls.append(("init", id, name, config["train.lr"], resume))
        return SimpleNamespace(id=id or "xyz", log=self.log, finish=self.finish)

    def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        self.calls.append(("log", data, step))

    def finish(self, exit_code: int | None = None) -> None:
        self.calls.append(("finish", exit_code))


def run(name: str, folder: Path, *, resumed: bool = False, error: BaseException | None = None) -> None:
    """What a training of one epoch tells the logger."""
    callbacks = Callbacks(build_loggers((name,)))
    with callbacks.started(Begun(folder, Config(), ("a", "b"), 2 * resumed, resumed)):
        callbacks.tell(lambda callback: callback.epoch_ended(ENTRY))
        if error is not None:
            raise error


def test_mlflow_gets_the_config_once_and_figures_by_epoch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", fake := FakeMlflow())
    run("mlflow", tmp_path)
    start, *parameters, metrics, end = fake.calls
    assert start == ("start", None, tmp_path.name)
    assert sum(count for _, count in parameters) > 100
    assert (metrics, end) == (("metrics", {"step": 9.0, "loss": 1.5}, 3), ("end", "FINISHED"))
    fake.calls.clear()
    run("mlflow", tmp_path, resumed=True)
    assert fake.calls == [("start", "abc", None), metrics, end]


@pytest.mark.parametrize(("error", "status"), [(Interrupted("", 15), "KILLED"), (UserError(""), "FAILED")])
def test_mlflow_and_wandb_say_how_a_run_ended(tmp_path, monkeypatch, error, status):
    monkeypatch.setitem(sys.modules, "mlflow", mlflow := FakeMlflow())
    monkeypatch.setitem(sys.modules, "wandb", wandb := FakeWandb())
    for name in ("mlflow", "wandb"):
        with pytest.raises(type(error)):
            run(name, tmp_path, error=error)
    assert mlflow.calls[-1] == ("end", status)
    assert wandb.calls[-1] == ("finish", 143 if status == "KILLED" else 1)


def test_an_active_mlflow_run_is_used_and_left_open(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", fake := FakeMlflow())
    fake.active = object()
    run("mlflow", tmp_path)
    assert {name for name, *_ in fake.calls} == {"params", "metrics"}


def test_a_servers_error_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", fake := FakeMlflow())
    fake.down = True
    with pytest.raises(UserError, match=r"^train.loggers mlflow failed \(no answer\): .* --resume$"):
        run("mlflow", tmp_path)


def test_wandb_goes_on_with_the_run_that_it_began(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", fake := FakeWandb())
    run("wandb", tmp_path)
    rate = Config().train.lr
    rest = [("log", {"step": 9.0, "loss": 1.5}, 3), ("finish", 0)]
    assert fake.calls == [("init", None, tmp_path.name, rate, "allow"), *rest]
    fake.calls.clear()
    run("wandb", tmp_path, resumed=True)
    assert fake.calls == [("init", "xyz", tmp_path.name, rate, "allow"), *rest]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_named(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=f"needs the package '{name}'.*pip install {name}"):
        build_loggers((name,))


def test_tensorboard_shows_every_figure_of_the_log_and_the_training_is_the_same(tiny, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(loop, "_save_pictures", lambda *_: None)
    short = replace(tiny, train=replace(tiny.train, epochs=1, precision="fp32"))
    train(short, tmp_path / "without")
    config = load_config(tmp_path / "without/config.yaml", ("train.loggers=[tensorboard]",))
    train(config, tmp_path / "with")
    assert fingerprint(tmp_path / "with") == fingerprint(tmp_path / "without")
    train(replace(config, train=replace(config.train, epochs=2)), tmp_path / "with", resume=True)
    events = EventAccumulator(str(tmp_path / "with/tensorboard"))
    events.Reload()
    assert {"loss", "cls", "box", "side", "lr", "ap", "ap50"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    assert load_config(tmp_path / "with/config.yaml").train.loggers == ("tensorboard",)
