"""The main job as a user runs it, and every expected error in one line."""

import json
import re

import pytest
import torch

from nanogfl.data.synthetic.dataset import draw_dataset
from tests.commands import accepted, nanogfl, process, refused

pytestmark = pytest.mark.slow

SMALL = ["model.input.hw=[96,128]", "model.backbone.width=0.5x", "model.neck.channels=16", "train.batch_size=4"]
OVERRIDES = [part for entry in (*SMALL, "train.threads=1") for part in ("--set", entry)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A drawn data set, a recipe, and a small run of it."""
    folder = tmp_path_factory.mktemp("main job")  # with a space in its name
    draw_dataset(folder / "data", train=12, val=4)
    (folder / "recipe.yaml").write_text("data: {root: data}\ntrain: {epochs: 2, eval_every: 1}\n", encoding="utf-8")
    assert "next: nanogfl export" in accepted(process(folder, "train", "recipe.yaml", *OVERRIDES))
    return folder


@pytest.fixture
def broken(folder, tmp_path):
    """Writes a copy of the annotations with one change; returns the arguments that train on it."""

    def write(change):
        content = json.loads((folder / "data" / "train.json").read_text(encoding="utf-8"))
        change(content)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        arguments = ["train", "recipe.yaml", "--run-dir", tmp_path / "run", *OVERRIDES]
        return [*arguments, "--set", f"data.train.annotations={path}", "--set", "train.epochs=1"]

    return write


def test_train_then_eval_then_export_then_eval_agree(folder):
    run = folder / "runs" / "recipe"
    kept = {"config.yaml", "log.jsonl", "last.pt", "previous.pt", "best.pt", "curves.png", "validation.png"}
    assert {path.name for path in run.iterdir()} == kept
    assert [json.loads(line)["epoch"] for line in (run / "log.jsonl").read_text().splitlines()] == [1, 2]
    # a run of two epochs finds nothing yet: lift its scores, so that there is something to agree on
    content = torch.load(run / "best.pt", weights_only=True)
    for name, value in content["weights"].items():
        if name.startswith("head.outputs") and name.endswith("bias"):
            value[:6] = -1.0
        if name.startswith("head.outputs") and name.endswith("weight"):
            value += 0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
    torch.save(content, folder / "lifted.pt")

    exported = accepted(process(folder, "export", "lifted.pt", "-o", "out/told.onnx", "--report"))
    assert "agrees with PyTorch: 4 images" in exported
    assert "wrote out/told_report.md and told_report.png" in exported
    assert {path.name for path in (folder / "out").iterdir()} == {"told.onnx", "told_report.md", "told_report.png"}
    page = (folder / "out" / "told_report.md").read_text(encoding="utf-8")
    (matched,) = re.findall(r"(\d+ of \d+) detections matched", exported)
    assert f"| {matched} |" in page
    assert "(told_report.png)" in page
    assert str(folder) not in page
    figures = []
    for arguments in (["lifted.pt"], ["out/told.onnx", "--data", "data/val.json"]):
        accepted(nanogfl(folder, "eval", *arguments, "--json", "figures.json"))
        figures.append(json.loads((folder / "figures.json").read_text()))
    assert figures[0]["ap"] == pytest.approx(figures[1]["ap"], abs=0.0005)
    assert [entry["objects"] for entry in figures[0]["classes"]] == [
        entry["objects"] for entry in figures[1]["classes"]
    ]

    described = nanogfl(folder, "info", "runs/recipe/best.pt")
    assert "GMACs" in described.stdout
    assert "ShuffleNetV2 0.5x" in described.stdout


@pytest.mark.exhaustive  # as tests/test_api.py and tests/export/test_report.py show in Python
def test_a_refused_export_has_no_report(folder):
    line = refused(nanogfl(folder, "export", "runs/recipe/best.pt", "-o", "refused/x.onnx", "--report"))
    assert "no file was written" in line
    assert not list((folder / "refused").iterdir())


def test_a_run_is_neither_overwritten_nor_lost(folder):
    before = (folder / "runs" / "recipe" / "best.pt").read_bytes()
    line = refused(nanogfl(folder, "train", "recipe.yaml", "--run-dir", "runs/recipe", *OVERRIDES))
    assert "--resume" in line
    assert (folder / "runs" / "recipe" / "best.pt").read_bytes() == before


def test_expected_errors_are_one_line(folder, tmp_path):
    (tmp_path / "typo.yaml").write_text("model: {bacbone: {width: 0.5x}}\n", encoding="utf-8")
    (tmp_path / "note.onnx").write_text("hello", encoding="utf-8")
    (tmp_path / "note.pt").write_text("hello", encoding="utf-8")
    (tmp_path / "note.json").write_text("hello", encoding="utf-8")
    cases = [
        (["train", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["train", tmp_path / "typo.yaml"], "unknown key 'model.bacbone': did you mean 'backbone'?"),
        (["train", "recipe.yaml", "--set", "train.epochs"], "--set takes key=value"),
        (["train", "recipe.yaml", "--device", "tpu9"], "there is no device 'tpu9'"),
        (["train", "recipe.yaml", "--set", "data.root=elsewhere"], "elsewhere/train.json do not exist"),
        (["train", "recipe.yaml", "--resume", "--run-dir", tmp_path / "none"], "last.pt does not exist"),
        (["train", "recipe.yaml", "--init-from", "1e3"], "checkpoint 1e3 does not exist"),
        (["train", "recipe.yaml", "--teacher", "1e3"], "checkpoint 1e3 does not exist"),
        (["train", "recipe.yaml", "--set", "train.freeze=[nek]"], "train.freeze.0: Input should be 'backbone'"),
        (["train", "recipe.yaml", "--minutes", "-1"], "train.minutes must be at least 0, got -1"),
        (["train"], "Missing argument 'RECIPE_OR_FOLDER'"),
        (["eval", "nowhere.pt"], "nowhere.pt does not exist"),
        (["eval", tmp_path / "note.pt"], "is not a nanogfl checkpoint"),
        (["eval", tmp_path / "note.onnx"], "is not an .onnx"),
        (["export", tmp_path / "note.pt"], "is not a nanogfl checkpoint"),
        (["export", "runs/recipe/best.pt", "-o", tmp_path / "model.txt"], "must end in .onnx"),
        (["export", "runs/recipe/best.pt", "--images", tmp_path], "holds no images"),
        (["detect", "runs/recipe/best.pt", tmp_path / "note.pt"], ""),
        (["eval", "runs/recipe/best.pt", "--data", "recipe.yaml"], "needs its image folder: give --images FOLDER"),
        (["eval", "runs/recipe/best.pt", "--data", tmp_path / "note.json"], "not valid JSON"),
    ]
    for arguments, sentence in cases:
        assert sentence in refused(nanogfl(folder, *arguments)), arguments


def test_a_bad_box_is_listed_and_left_out_and_fatal_when_strict(broken, folder, tmp_path):
    def damage(content):
        content["annotations"][0]["bbox"] = [5000, 10, 20, 20]
        content["annotations"][1]["bbox"][2] = 0

    arguments = broken(damage)
    line = refused(nanogfl(folder, *arguments, "--strict"))
    assert "box outside its image" in line
    assert not (tmp_path / "run").exists()
    done = nanogfl(folder, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "left out or mended: 1 x box outside its image, 1 x empty box" in done.stdout
    assert len((tmp_path / "run" / "data_problems.txt").read_text().splitlines()) == 2


def test_an_unknown_category_is_an_error_before_anything_is_written(broken, folder, tmp_path):
    line = refused(nanogfl(folder, *broken(lambda content: content["annotations"][0].update(category_id=77))))
    assert "unknown category 77: known are 1, 2, 3, 5, 8, 13" in line
    assert not (tmp_path / "run").exists()


def test_an_image_that_is_not_an_image_is_listed_and_left_out_and_fatal_when_strict(folder, tmp_path, broken):
    path = folder / "data" / "train" / "zz_broken.jpg"
    path.write_text("no picture")
    try:
        arguments = broken(lambda content: content["images"][0].update(file_name=path.name))
        assert f"{path.name} is not an image" in refused(nanogfl(folder, *arguments, "--strict"))
        done = nanogfl(folder, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "left out or mended: 1 x unreadable image" in done.stdout
        assert f"{path.name}: unreadable image" in (tmp_path / "run" / "data_problems.txt").read_text()
    finally:
        path.unlink()
