"""`nanogfl eval` of an .onnx on LVIS, in an environment without torch."""

import json
from pathlib import Path

import pytest

from nanogfl.data.readers.read import load_split
from nanogfl.data.synthetic.dataset import draw_dataset
from nanogfl.evaluation.coco_ap import evaluate
from nanogfl_deploy import Detector
from tests.commands import nanogfl, refused
from tests.data.lvis_files import as_lvis

GOLDEN = Path(__file__).parents[1] / "golden" / "embedded.onnx"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, train=1, val=20)
    (folder / "lvis.json").write_text(json.dumps(as_lvis(folder / "val.json", "val")))
    return folder


def run(folder, *arguments):
    return nanogfl(folder, "eval", GOLDEN, *arguments)


@pytest.mark.parametrize("images", ["val", "."])
def test_its_figures_are_federated_and_say_how_many_detections_the_file_delivers(folder, images):
    done = run(folder, "--data", "lvis.json", "--images", images, "--json", "ap.json")
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads((folder / "ap.json").read_text(encoding="utf-8"))
    expected = evaluate(Detector(GOLDEN), load_split(folder / "lvis.json", folder / "val"))
    plain = evaluate(Detector(GOLDEN), load_split(folder / "val.json", folder / "val"))
    assert figures["ap"] == expected.ap > plain.ap > 0.3  # fewer false alarms count
    groups = {f"ap_{group.name}": group.ap for group in expected.groups}
    assert {name: figures["federated"][name] for name in groups} == groups
    for letter, ap in zip("rcf", groups.values(), strict=True):
        assert f"AP{letter} {ap:.3f}" in done.stdout
    keep = Detector(GOLDEN).card.selection.keep
    assert f"at most {keep} detections per image" in done.stdout


def test_groups_by_the_training_set_are_shown_beside_the_files_own_on_request(folder):
    done = run(folder, "--data", "lvis.json", "--images", "val", "--train-data", "lvis.json", "--json", "ap.json")
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads((folder / "ap.json").read_text(encoding="utf-8"))
    assert figures["frequency"]["classes"] != figures["federated"]["classes"] == {"rare": 2, "common": 2, "frequent": 2}
    assert done.stdout.count("APr") == 2


def test_a_bad_file_is_one_sentence(folder):
    content = json.loads((folder / "lvis.json").read_text())
    content["categories"][1]["frequency"] = "x"
    (folder / "bad.json").write_text(json.dumps(content))
    done = run(folder, "--data", "bad.json", "--images", "val", "--json", "none.json")
    assert "has frequency 'x'" in refused(done)
    assert not (folder / "none.json").exists()
