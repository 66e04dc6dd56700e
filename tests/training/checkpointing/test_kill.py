"""Processes that are killed, and a run that ends as if they had not been."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from nanogfl.config import AugmentConfig, Config, LossConfig
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.recipe import load_config
from nanogfl.training.loop import train
from tests.commands import Done, python
from tests.training.test_loop import fingerprint

MIXED = AugmentConfig(mosaic=0.5, mixup=0.5, copy_paste=0.5, plain_end=0.2)

pytestmark = pytest.mark.slow  # a process with torch for every kill


@pytest.fixture
def config(tiny: Config, tmp_path: Path) -> Config:
    """3 epochs of 3 batches: an update after two of them and one after the third; saved after each."""
    knobs = {"epochs": 3, "batch_size": 3, "accumulate": 2, "precision": "fp32", "save_every": 0.0}
    return replace(
        tiny,
        data=replace(tiny.data, cache_dir=str(tmp_path / "cache")),
        augment=MIXED,
        loss=LossConfig(classification="eqfl"),
        train=replace(tiny.train, **knobs),
    )


def write(config: Config, path: Path) -> Path:
    path.write_text(yaml.safe_dump(config.to_dict()))
    return path


def start(config: Path, run_dir: Path, moment: str) -> Done:
    return python(Path(__file__).with_name("dying_run.py"), config, run_dir, moment, OMP_NUM_THREADS="1")


MOMENTS = [
    "in cache:3",
    "before update:2",
    "in checkpoint:1",
    "between batches:2",
    "before rename:3",  # config.yaml, log.jsonl; last.pt
    "after rename:3",  # previous.pt is not yet the one before
    "after update:1",
    "in validation:1",
    "before sync:7",
    "before update:1",
]


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param(MOMENTS[:3], id="3 kills"),
        pytest.param(MOMENTS, id="10 kills", marks=pytest.mark.exhaustive),
    ],
)
def test_a_run_killed_again_and_again_ends_as_one_that_never_was_to_the_bit(config, tmp_path, moments):
    file, run, cache = write(config, tmp_path / "c.yaml"), tmp_path / "run", tmp_path / "cache"
    reached, torn = [], 0
    for moment in moments:
        killed = start(file, run, moment)
        assert killed.returncode == -signal.SIGKILL, (moment, killed.stdout, killed.stderr)
        torn += len(list(run.glob(".*"))) if run.exists() else 0
        state = next((run / name for name in ("last.pt", "previous.pt") if (run / name).exists()), None)
        if state is not None:
            training = load_checkpoint(state).training
            unfinished = training["unfinished"] or {"batches": 0}
            reached.append(3 * training["epoch"] + unfinished["batches"])
    assert torn >= 1
    assert reached == sorted(reached)
    assert 0 < reached[0] <= reached[-1] < 9
    assert any(batches % 3 for batches in reached)
    train(load_config(file), run, resume=True)
    assert not list(run.glob(".*"))

    assert train(config, tmp_path / "whole").best_epoch
    assert fingerprint(run) == fingerprint(tmp_path / "whole")
    assert len((run / "log.jsonl").read_text().splitlines()) == 3
    assert sorted(p.name for p in run.iterdir()) == sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert cache.is_dir()
