"""Which epoch best.pt is: the first of the largest AP; without an AP the newest, and then patience does not count."""

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from nanogfl.config import Config, SplitConfig
from nanogfl.model.checkpoint import load_checkpoint, weights_digest
from nanogfl.training import loop
from nanogfl.training.checkpointing.state import RunState
from nanogfl.training.datasets import Data
from nanogfl.training.loop import train
from nanogfl.training.step import TrainStep
from tests.training.test_loop import PowerCut


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_save_pictures", lambda *_: None)


def with_val(tiny: Config, shapes: Path, folder: Path, kind: str) -> Config:
    """Validation without an object, or with crowd regions alone."""
    content = json.loads((shapes / "val.json").read_text())
    content["annotations"] = [] if kind == "empty" else [{**a, "iscrowd": 1} for a in content["annotations"]]
    (folder / "val.json").write_text(json.dumps(content))
    return replace(tiny, data=replace(tiny.data, val=SplitConfig(str(folder / "val.json"), str(shapes / "val"))))


def after(config: Config, aps: list[float | None], patience: int = 0) -> RunState:
    """A run whose epochs were evaluated to these."""
    config = replace(config, train=replace(config.train, patience=patience))
    log = [{"epoch": number, "ap": ap} for number, ap in enumerate(aps, start=1)]
    return RunState(Path(), config, cast(Data, None), cast(TrainStep, None), 1, log=log)


@pytest.mark.parametrize("kind", ["empty", "crowd"])
def test_without_an_object_in_validation_the_newest_epoch_is_best_and_it_is_said(tiny, shapes, tmp_path, capsys, kind):
    config = with_val(tiny, shapes, tmp_path, kind)
    config = replace(config, train=replace(config.train, epochs=3, eval_every=1, patience=1, precision="fp32"))
    outcome = train(config, tmp_path / "run")
    best, last = load_checkpoint(tmp_path / "run/best.pt"), load_checkpoint(tmp_path / "run/last.pt")
    assert (outcome.best_ap, outcome.best_epoch) == (None, 3)
    assert (best.facts["epoch"], best.facts["ap"], last.training["epoch"]) == (3, None, 3)
    assert weights_digest(best.weights) == weights_digest(last.weights)
    first, *_ = capsys.readouterr().out.split("epoch 1/3")
    assert "no AP" in first  # before hours of training
    assert "no AP" in str(outcome)
    assert "no objects" in str(outcome)


@pytest.mark.parametrize(
    ("aps", "best"),
    [
        ([0.1, 0.3, 0.2, 0.3], (0.3, 2)),  # an equal one is no better
        ([0.0, 0.0, 0.0], (0.0, 3)),  # nothing but their training tells these apart
        ([0.0, 0.2, 0.0], (0.2, 2)),
        ([None, None], (None, 2)),
        ([0.2], (0.2, 1)),
        ([], (None, 0)),
    ],
)
def test_the_best_epoch(tiny, aps, best):
    state = after(tiny, aps)
    assert (state.best_ap, state.best_epoch) == best


@pytest.mark.parametrize(
    ("aps", "out"), [([None] * 4, False), ([0.0] * 4, False), ([0.0, 0.2, 0.1], False), ([0.0, 0.2, 0.1, 0.1], True)]
)
def test_patience_counts_from_the_first_ap_above_0(tiny, aps, out):
    assert after(tiny, aps, patience=2).out_of_patience() == out


def test_a_run_that_is_cut_to_what_is_done_is_evaluated_and_has_a_best(tiny, tmp_path):
    config = replace(tiny, train=replace(tiny.train, epochs=2, eval_every=5, precision="fp32"))

    with pytest.MonkeyPatch.context() as patch:

        def cut(*_, **__):
            raise PowerCut

        patch.setattr(loop, "validate", cut)
        with pytest.raises(PowerCut):
            train(config, tmp_path / "run")
    state = load_checkpoint(tmp_path / "run/previous.pt")  # one whole epoch, never evaluated
    assert (state.training["epoch"], "ap" in state.training["log"][0]) == (1, False)
    (tmp_path / "run/last.pt").unlink()
    outcome = train(replace(config, train=replace(config.train, epochs=1)), tmp_path / "run", resume=True)
    assert outcome.best_epoch == 1
    assert load_checkpoint(tmp_path / "run/best.pt").facts["epoch"] == 1
