"""--resume knows its data set: class names and their order, images, sizes, boxes; wherever the files lie."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import load_checkpoint, save_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.training.checkpointing.saved import load_last
from nanogfl.training.checkpointing.state import RunState
from nanogfl.training.datasets import load_data
from nanogfl.training.start.init_from import carry_over
from nanogfl.training.step import build_step
from tests.thinned import thinned


@pytest.fixture
def config(tiny: Config, shapes: Path, tmp_path: Path) -> Config:
    """On a copy of the data set."""
    root = shutil.copytree(shapes, tmp_path / "data")
    return replace(tiny, data=replace(tiny.data, root=str(root)))


@pytest.fixture
def run(config: Config, tmp_path: Path) -> Path:
    """After an epoch that learned nothing."""
    (tmp_path / "run").mkdir()
    data, detector = load_data(config), build_detector(config.model, 2)
    state = RunState(tmp_path / "run", config, data, build_step(config, detector, torch.device("cpu")), 2)
    for parameters in state.step.optimizer.param_groups:
        for parameter in parameters["params"]:
            parameter.grad = torch.zeros_like(parameter)
    state.step.optimizer.step()
    state.end_epoch({"epoch": 1, "loss": 1.0, "ap": 0.1, "ap50": 0.2})
    return tmp_path / "run"


def rewrite(config: Config, split: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = Path(config.data.root) / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def swap_names(content: dict[str, Any]) -> None:
    first, second = content["categories"]
    first["name"], second["name"] = second["name"], first["name"]


def renamed_image(content: dict[str, Any]) -> None:
    content["images"][0]["file_name"] = "other.png"


def without_an_image(content: dict[str, Any]) -> None:
    gone = content["images"].pop()["id"]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != gone]


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a box less": lambda content: content["annotations"].pop(),
    "a box moved": lambda content: content["annotations"][0]["bbox"].__setitem__(0, 3),
    "another class": lambda content: content["annotations"][0].update(
        category_id=9 - content["annotations"][0]["category_id"]
    ),
    "a crowd": lambda content: content["annotations"][0].update(iscrowd=1),
    "an image less": without_an_image,
    "an image of another name": renamed_image,
}


def test_the_same_data_go_on_wherever_they_lie(config, run, tmp_path):
    moved = shutil.move(config.data.root, tmp_path / "elsewhere")
    config = replace(config, data=replace(config.data, root=str(moved)))
    last = load_last(run, config, load_data(config), 2)
    assert last.training.epoch == 1
    assert not any("data set" in line for line in last.lines)


def test_swapped_names_are_refused_by_their_names(config, run):
    for split in ("train", "val"):
        rewrite(config, split, swap_names)
    with pytest.raises(UserError, match=r"rectangle.*ellipse.*--init-from"):
        load_last(run, config, load_data(config), 2)


@pytest.mark.parametrize(
    ("case", "split"),
    thinned(
        product(CHANGES, ("train", "val")),
        *(("a box less", "train"), ("an image less", "val"), ("a box moved", "val"), ("another class", "train")),
    ),
)
def test_another_data_set_is_refused(config, run, case, split):
    if case == "an image of another name":
        shutil.copy(Path(config.data.root) / split / "0.png", Path(config.data.root) / split / "other.png")
    before = load_data(config)
    rewrite(config, split, CHANGES[case])
    data = load_data(config)
    assert data.digest() != before.digest()
    with pytest.raises(UserError, match="another data set") as caught:
        load_last(run, config, data, 2)
    assert "--init-from" in str(caught.value)
    if "less" in case:  # counts tell what changed
        changed, same = (data.train, data.val) if split == "train" else (data.val, data.train)
        assert changed.summary() in str(caught.value)
        assert same.summary() not in str(caught.value)


def test_a_file_that_does_not_say_which_data_set_it_was_goes_on_with_a_note(config, run):
    saved = load_checkpoint(run / "last.pt")
    facts = {key: value for key, value in saved.facts.items() if "data" not in key}
    save_checkpoint(run / "last.pt", replace(saved, facts=facts))
    rewrite(config, "train", CHANGES["a box less"])
    assert any("not checked" in line for line in load_last(run, config, load_data(config), 2).lines)


def test_every_checkpoint_says_what_it_was_trained_on(config, run):
    data = load_data(config)
    for name in ("last.pt", "best.pt"):
        facts = load_checkpoint(run / name).facts
        assert facts["data"] == data.digest()
        assert facts["train_data"] == data.train.summary()
        assert facts["val_data"] == data.val.summary()


def test_a_new_start_from_swapped_names_learns_by_name(config, run):
    source = load_checkpoint(run / "last.pt")
    detector = build_detector(config.model, 2)
    carry_over(detector, config, source.classes[::-1], source)
    weight = "head.outputs.0.weight"
    assert torch.equal(detector.state_dict()[weight][:2], source.weights[weight][:2].flip(0))
