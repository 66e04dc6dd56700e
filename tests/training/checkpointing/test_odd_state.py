"""A last.pt whose state of training is not as a run saves it: one sentence that names the file, and nothing changed."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nanogfl.config import Config, LossConfig
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.training import loop
from nanogfl.training.checkpointing.saved import load_last
from nanogfl.training.checkpointing.state import RunState
from nanogfl.training.datasets import load_data
from nanogfl.training.loop import train
from nanogfl.training.step import build_step
from tests.thinned import thinned

Content = dict[str, Any]
Change = Callable[[Content, Content], object]  # of the state of training, and of the whole file


def put(key: str, value: object) -> Change:
    return lambda training, _: training.update({key: value})


def first_tensor(tensors: dict[str, torch.Tensor]) -> str:
    return next(name for name, value in tensors.items() if value.ndim > 1)


def in_tensor(part: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Change:
    """None takes it away."""

    def write(training: Content, content: Content) -> None:
        tensors = content["weights"] if part == "weights" else training[part]
        name = first_tensor(tensors)
        value = change(tensors.pop(name))
        if value is not None:
            tensors[name] = value

    return write


def of_first_parameter(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    return lambda training, _: change(training["optimizer"]["state"][0])


def without(key: str) -> Change:
    return lambda training, _: training.pop(key)


def with_nan(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.fill_(float("nan"))


ODD: dict[str, Change] = {
    "an epoch in words": put("epoch", "three"),
    "an epoch below 0": put("epoch", -5),
    "an epoch far away": put("epoch", 10**9),
    "an epoch that is true": put("epoch", True),
    "an epoch of another number of log entries": put("epoch", 2),
    "a log of numbers": put("log", [1, 2]),
    "a log of texts": put("log", ["x"]),
    "a log that is none": put("log", None),
    "a log of another epoch": lambda training, _: training["log"][0].update(epoch=7),
    "a log with an AP in words": lambda training, _: training["log"][0].update(ap="good"),
    "a log with a list for a loss": lambda training, _: training["log"][0].update(loss=[1.0]),
    "a log with a tensor": lambda training, _: training["log"][0].update(more=torch.zeros(2)),
    "no log": without("log"),
    "no optimizer": without("optimizer"),
    "no detector": without("detector"),
    "no random state": without("torch_rng"),
    "nothing": lambda training, _: training.clear(),
    "an optimizer without moments": lambda training, _: training["optimizer"].clear(),
    "an optimizer of numbers": put("optimizer", {"state": {0: 1.0}}),
    "an optimizer that lacks a parameter": lambda training, _: training["optimizer"]["state"].pop(0),
    "an optimizer that lacks a moment": of_first_parameter(lambda moments: moments.pop("exp_avg")),
    "a moment of another shape": of_first_parameter(lambda moments: moments.update(exp_avg=torch.zeros(3))),
    "a moment that is no number": of_first_parameter(lambda moments: with_nan(moments["exp_avg_sq"])),
    "a weight that is missing": in_tensor("detector", lambda _: None),
    "a weight of another shape": in_tensor("detector", lambda tensor: tensor.flatten()),
    "a weight that is no number": in_tensor("detector", with_nan),
    "an averaged weight that is missing": in_tensor("weights", lambda _: None),
    "an averaged weight that is no number": in_tensor("weights", with_nan),
    "a random state that is too short": put("torch_rng", torch.zeros(3, dtype=torch.uint8)),
    "a random state of another kind": put("torch_rng", torch.zeros(5056)),
    "a number of averages below 0": put("ema_updates", -1),
    "an unfinished epoch of words": put("unfinished", "half"),
    "an unfinished epoch that lacks its length": put("unfinished", {"batches": 1}),
    "an unfinished epoch within an update": put(
        "unfinished", {"batches": 1, "of": 2, "sums": torch.zeros(6), "seconds": 1.0, "waited": 0.0}
    ),
    "an unfinished epoch of too many batches": put(
        "unfinished", {"batches": 4, "of": 2, "sums": torch.zeros(6), "seconds": 1.0, "waited": 0.0}
    ),
    "an unfinished epoch with other losses": put(
        "unfinished", {"batches": 2, "of": 2, "sums": torch.zeros(2), "seconds": 1.0, "waited": 0.0}
    ),
    "no account of the classes": put("equalizer", None),
    "an account of other classes": put("equalizer", {"positive": torch.zeros(5), "negative": torch.zeros(5)}),
}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("templates")


@pytest.fixture
def config(tiny: Config) -> Config:
    keys = {"epochs": 1, "accumulate": 2, "eval_every": 1, "precision": "fp32"}
    return replace(tiny, loss=LossConfig(classification="eqfl"), train=replace(tiny.train, **keys))


@pytest.fixture
def finished(config: Config, templates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run of one epoch."""
    monkeypatch.setattr(loop, "_save_pictures", lambda *_: None)
    if not (templates / "run").exists():
        train(config, templates / "run")
    rng = torch.get_rng_state()
    yield Path(shutil.copytree(templates / "run", tmp_path / "run"))
    torch.set_rng_state(rng)


def go_on(config: Config, run_dir: Path) -> RunState:
    """As a training does before its first step; with an epoch to come."""
    config = replace(config, train=replace(config.train, epochs=config.train.epochs + 1))
    data = load_data(config)
    step = build_step(config, build_detector(config.model, 2), torch.device("cpu"))
    state = RunState(run_dir, config, data, step, 2)
    state.restore(load_last(run_dir, config, data, 2))
    return state


def write(run_dir: Path, change: Change) -> None:
    content = torch.load(run_dir / "last.pt", weights_only=True)
    change(content["training"], content)
    torch.save(content, run_dir / "last.pt")


def test_a_state_as_it_was_saved_is_taken_over(config, finished):
    state = go_on(config, finished)
    assert (state.epochs_done, state.best_epoch) == (1, 1)
    expected = load_checkpoint(finished / "last.pt").training
    for name, value in state.step.detector.state_dict().items():
        assert torch.equal(value, expected["detector"][name])


@pytest.mark.parametrize(
    "case",
    thinned(
        ODD,
        "an epoch in words",
        "an epoch of another number of log entries",
        "a log with an AP in words",
        "no optimizer",
        "nothing",
        "an optimizer that lacks a moment",
        "a weight of another shape",
        "a weight that is no number",
        "a random state that is too short",
        "an unfinished epoch within an update",
        "an account of other classes",
    ),
)
def test_an_odd_state_is_one_sentence(config, finished, case):
    write(finished, ODD[case])
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    with pytest.raises(UserError) as caught:
        go_on(config, finished)
    assert str(finished / "last.pt") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


@pytest.mark.parametrize("case", ["an averaged weight that is no number", "nothing"])
def test_nor_does_a_finished_run_with_such_a_state_end_well(config, finished, case):
    write(finished, ODD[case])
    before = (finished / "config.yaml").read_bytes()
    with pytest.raises(UserError):
        train(config, finished, resume=True)
    assert (finished / "config.yaml").read_bytes() == before
    assert not (finished / "train.lock").exists()


def test_what_older_versions_kept_beside_it_is_read_over(config, finished):
    write(finished, lambda training, _: training.update(best_ap=None, best_epoch="x"))
    assert go_on(config, finished).best_epoch == 1
