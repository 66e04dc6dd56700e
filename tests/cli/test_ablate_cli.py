"""`nanogfl ablate`: its options, and its errors in one line."""

import json
from pathlib import Path

import pytest

from nanogfl.data.synthetic.dataset import draw_dataset
from tests.commands import accepted, nanogfl, refused

SMALL = "model: {input: {hw: [64, 96]}, backbone: {width: 0.5x}, neck: {channels: 16}, head: {convs: 1, kernel: 3}}\n"
FILE = "base: r.yaml\nseeds: [0, 1]\nbudget: {steps: 50}\nrows: {a: {}, b: {set: {loss.beta: 1}, paper: 39.0}}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("an ablation")
    draw_dataset(folder / "my data", train=5, val=2, hw=(64, 96))
    (folder / "r.yaml").write_text(SMALL + "train: {batch_size: 4, device: cpu, threads: 1}\n")
    (folder / "tiny.yaml").write_text(FILE)
    return folder


def test_the_options_decide_over_the_file(folder: Path):
    options = ("--root", "my data", "--seeds", "4", "--epochs", "1", "--set", "train.lr=0.001")
    said = accepted(nanogfl(folder, "ablate", "tiny.yaml", *options))
    content = json.loads((folder / "runs" / "ablate-tiny" / "ablation.json").read_text())
    assert (content["seeds"], content["epochs"], content["complete"]) == ([4], 1, True)
    result = json.loads((folder / "runs" / "ablate-tiny" / "b" / "seed4" / "result.json").read_text())
    assert (result["config"]["train"]["lr"], result["config"]["data"]["root"]) == (0.001, "my data")
    assert "minutes" in said
    assert "\\n" not in said
    assert "39.0" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.yaml"], "none.yaml does not exist"),
        (["tiny.yaml"], "do not exist: check data.root"),
        (["tiny.yaml", "--root", "my data", "--seeds", "1,1"], "--seeds takes different whole numbers such as 0,1,2"),
        (["tiny.yaml", "--root", "my data", "--set", "train.epochs=3"], "budget decide"),
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_code_2(folder: Path, arguments: list[str], sentence: str):
    assert sentence in refused(nanogfl(folder, "ablate", *arguments))
