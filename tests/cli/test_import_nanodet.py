"""`nanogfl import-nanodet` and `nanogfl models` as a user meets them, and AP of NanoDet's published detector."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from nanogfl.data.readers.read import load_split as load_coco
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.nanodet.coco_classes import COCO_CATEGORY_IDS, COCO_CLASSES
from tests.commands import ROOT, accepted, nanogfl, refused
from tests.nanodet_reference import random_tensors, shapes
from tests.shared_data import shared

NANODETS_AP = 0.3668  # its own pipeline and evaluator on coco_mini val: ../shared/weights/README.md


@pytest.fixture
def weights(tmp_path):
    """A file of NanoDet-m 0.5x with that many classes."""

    def write(classes: int) -> Path:
        state = {f"model.{k}": v for k, v in random_tensors(shapes("nanodet-m-0.5x", classes)).items()}
        torch.save({"epoch": 1, "state_dict": state}, tmp_path / "m.ckpt")
        return tmp_path / "m.ckpt"

    return write


def test_80_classes_are_cocos_with_the_gaps_of_its_ids(weights, tmp_path):
    shown = accepted(nanogfl(tmp_path, "import-nanodet", weights(80), "-o", "new/coco.pt"))
    assert "nanodet-m-0.5x, 80 classes: took the weights, 414 tensors" in shown
    assert "left out: head.gfl_reg, 6 tensors: never executed" in shown
    assert "left out: head.distribution_project, 1 tensor: the constants" in shown
    assert "input 320 x 320 (height x width), letterbox; 271,056 parameters, 0.139 GMACs" in shown
    checkpoint = load_checkpoint(tmp_path / "new" / "coco.pt")
    assert (checkpoint.classes, checkpoint.category_ids) == (COCO_CLASSES, COCO_CATEGORY_IDS)
    assert (checkpoint.classes[11], checkpoint.category_ids[11], checkpoint.category_ids[79]) == ("stop sign", 13, 90)
    assert checkpoint.facts == {"variant": "nanodet-m-0.5x", "imported": "m.ckpt"}


def test_cocos_classes_are_those_of_its_annotations():
    dataset = load_coco(shared("data/coco_mini/val.json"), shared("data/coco_mini/val"))
    assert (dataset.classes, dataset.category_ids) == (COCO_CLASSES, COCO_CATEGORY_IDS)


def test_other_classes_take_their_names_from_a_file_and_the_input_from_the_command(weights, tmp_path):
    (tmp_path / "names.txt").write_text("Hund ü\r\n traffic light \n\n", encoding="utf-8")
    accepted(
        nanogfl(tmp_path, "import-nanodet", weights(2), "-o", "a.pt", "--classes", "names.txt", "--input", "96", "160")
    )
    checkpoint = load_checkpoint(tmp_path / "a.pt")
    assert (checkpoint.classes, checkpoint.category_ids) == (("Hund ü", "traffic light"), (1, 2))
    assert checkpoint.config.model.input.hw == (96, 160)
    detector = checkpoint.build()
    assert detector(torch.zeros(1, 96, 160, 3, dtype=torch.uint8)).cls_logits.shape == (1, 12 * 20 + 6 * 10 + 3 * 5, 2)


def test_what_does_not_fit_is_one_line_and_leaves_the_old_file(weights, tmp_path):
    (tmp_path / "out.pt").write_text("old")
    file = weights(2)
    for names, more, sentence in (
        (None, (), "m.ckpt detects 2 classes, not COCO's 80: give their names with --classes FILE"),
        ("a\n", (), "has 1 names, but"),
        ("a\na\n", (), "names a class twice"),
        ("a\nb\n", ("--input", "320", "330"), "is not supported: height and width must be multiples of 32"),
    ):
        if names is not None:
            (tmp_path / "names.txt").write_text(names)
            more = (*more, "--classes", "names.txt")
        assert sentence in refused(nanogfl(tmp_path, "import-nanodet", file, "-o", "out.pt", *more))
        assert (tmp_path / "out.pt").read_text() == "old"
    assert not list(tmp_path.glob(".out*"))


def test_a_file_that_is_none_of_nanodets_is_one_line_and_no_output(tmp_path):
    (tmp_path / "x.ckpt").write_text("hello")
    assert "expected a .ckpt or .pth of RangiLyu/nanodet" in refused(
        nanogfl(tmp_path, "import-nanodet", "x.ckpt", "-o", "out.pt")
    )
    assert refused(nanogfl(tmp_path, "import-nanodet", "x.ckpt", "-o", "x.ckpt")).endswith("give another name")
    assert [path.name for path in tmp_path.iterdir()] == ["x.ckpt"]


# The recipes ------------------------------------------------------------------------------------------------------


def test_models_lists_every_recipe_with_its_published_ap_and_the_size_in_its_header(tmp_path):
    shown = accepted(nanogfl(tmp_path, "models"))
    rows = {line.split()[0]: line for line in shown.splitlines()[1:-1]}
    recipes = {str(path.relative_to(ROOT / "configs")): path for path in (ROOT / "configs").rglob("*.yaml")}
    recipes = {name: path for name, path in recipes.items() if not name.startswith("ablations")}
    assert rows.keys() == recipes.keys()
    for name, path in recipes.items():
        text = path.read_text(encoding="utf-8")
        about = yaml.safe_load(text).get("about", {})
        size = re.search(r"^# size: ([\d,]+) parameters, ([\d.]+) GMACs, counted with 80 classes$", text, re.MULTILINE)
        assert name.startswith(("nanodet/", "papers/")) == bool(about), name
        assert name.startswith(("nanodet/", "papers/", "nanogfl-")) == bool(size), name
        if size:
            assert [size[1], size[2]] == rows[name].split()[5:7], name  # behind name, H x W and resize
        if about:
            assert f"nanogfl train configs/{name}" in text, name
            assert rows[name].endswith(f"  {about['published_ap']}  {about['source']}"), name
        else:
            assert rows[name].endswith("  -"), name


def test_models_of_another_folder_and_of_none(tmp_path):
    (tmp_path / "mine").mkdir()
    assert "holds no recipes" in refused(nanogfl(tmp_path, "models", "--configs", "mine"))
    assert "is not a folder" in refused(nanogfl(tmp_path, "models", "--configs", "yours"))
    (tmp_path / "mine" / "a.yaml").write_text("model: {input: {hw: [96, 160]}}\n")
    row = accepted(nanogfl(tmp_path, "models", "--configs", "mine", "--classes", "3")).splitlines()[1]
    parameters = 1_197_924 - 4 * 77 * (96 + 1)  # 77 outputs fewer than with 80 classes, on four levels
    *facts, gmacs, ap = row.split()
    assert (facts, ap) == (["a.yaml", "96", "x", "160", "stretch", f"{parameters:,}"], "-")
    assert 0.06 < float(gmacs) < 0.4507 * 96 * 160 / 320**2
    (tmp_path / "mine" / "a.yaml").write_text("modle: {}\n")
    assert "unknown key 'modle'" in refused(nanogfl(tmp_path, "models", "--configs", "mine"))


# NanoDet's detector on real images --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nanodet")
    file = shared("weights/nanodet-plus-m_416.ckpt")
    accepted(nanogfl(folder, "import-nanodet", file, "-o", "plus.pt"))
    return folder


def ap(folder, model: str) -> float:
    data = shared("data/coco_mini/val.json")
    accepted(nanogfl(folder, "eval", model, "--data", data, "--json", f"{model}.json"))
    return json.loads((folder / f"{model}.json").read_text())["ap"]


@pytest.mark.slow
def test_the_checkpoint_has_nanodets_ap(imported):
    assert ap(imported, "plus.pt") == pytest.approx(NANODETS_AP, abs=0.004)


@pytest.mark.slow
@pytest.mark.exhaustive  # by default the gate's agreement with the checkpoint has to do
def test_the_exported_file_has_nanodets_ap(imported):
    done = nanogfl(imported, "export", "plus.pt", "--images", shared("data/coco_mini/val"))
    assert done.returncode == 0, done.stderr
    assert "agrees with PyTorch" in done.stdout
    assert ap(imported, "plus.onnx") == pytest.approx(NANODETS_AP, abs=0.004)
