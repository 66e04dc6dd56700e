"""`nanogfl eval` of an .onnx in a process of its own; this runs in the environment without torch, too."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nanogfl.data.readers.read import load_split
from nanogfl.data.synthetic.dataset import draw_dataset
from nanogfl.evaluation.coco_ap import evaluate
from nanogfl_deploy import Detector
from tests.data.yolo_set import yolo_copy

GOLDEN = Path(__file__).parents[1] / "golden" / "embedded.onnx"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, train=1, val=30)
    return folder


def run(folder, *arguments):
    command = [sys.executable, "-m", "nanogfl", "eval", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False, timeout=120)


def test_its_ap_is_that_of_the_detector_on_the_data_set(folder):
    done = run(folder, GOLDEN, "--data", "val.json", "--json", "ap.json")
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads((folder / "ap.json").read_text(encoding="utf-8"))
    expected = evaluate(Detector(GOLDEN), load_split(folder / "val.json", folder / "val"))
    assert figures["ap"] == expected.ap > 0.3
    assert f"{expected.ap:.3f}" in done.stdout
    assert [entry["name"] for entry in figures["classes"]] == [entry.name for entry in expected.classes]


def test_the_same_set_in_yolos_layout_has_the_same_ap_though_its_classes_have_other_numbers(folder, tmp_path):
    data, images = yolo_copy(load_split(folder / "val.json", folder / "val"), tmp_path)
    ours = run(folder, GOLDEN, "--data", data, "--images", images, "--train-data", data, "--train-images", images,
               "--json", tmp_path / "yolo.json")  # fmt: skip
    theirs = run(folder, GOLDEN, "--data", "val.json", "--train-data", "val.json", "--json", tmp_path / "coco.json")
    assert (ours.returncode, ours.stderr, theirs.returncode) == (0, "", 0)
    yolo, coco = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("yolo", "coco"))
    assert yolo["ap"] == pytest.approx(coco["ap"], abs=1e-6)  # boxes are rounded in the labels
    assert yolo["frequency"]["train_images"] == coco["frequency"]["train_images"]
    assert sum(yolo["frequency"]["train_images"]) > 30


def test_labels_that_are_found_by_their_images_need_the_folder(folder, tmp_path):
    done = run(folder, GOLDEN, "--data", tmp_path / "data.yaml")
    assert done.returncode == 2
    assert "needs its image folder: give --images FOLDER" in done.stderr
    done = run(folder, GOLDEN, "--data", "val.json", "--train-data", tmp_path / "data.yaml")
    assert done.returncode == 2
    assert "--train-images" in done.stderr


def test_without_a_data_set_it_asks_for_one(folder):
    done = run(folder, GOLDEN)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "give --data FILE --images FOLDER" in done.stderr


def test_an_unreadable_image_is_listed_and_fatal_when_strict(folder):
    path = sorted((folder / "val").iterdir())[3]
    content = path.read_bytes()
    path.write_bytes(content[:20])
    try:
        done = run(folder, GOLDEN, "--data", "val.json")
        assert done.returncode == 0
        assert f"left out or mended: {path.name}: unreadable image" in done.stdout
        assert "29 images" in done.stdout
        strict = run(folder, GOLDEN, "--data", "val.json", "--strict")
        assert strict.returncode == 2
        assert path.name in strict.stderr
    finally:
        path.write_bytes(content)


def test_a_set_without_objects_says_why_there_is_no_ap(folder):
    content = json.loads((folder / "val.json").read_text(encoding="utf-8"))
    (folder / "empty.json").write_text(json.dumps({**content, "annotations": []}), encoding="utf-8")
    done = run(folder, GOLDEN, "--data", "empty.json", "--images", "val", "--json", "empty_ap.json")
    assert done.returncode == 0
    assert "no AP" in done.stdout
    assert json.loads((folder / "empty_ap.json").read_text())["ap"] is None


def test_a_file_with_other_ids_is_matched_by_name_and_the_command_says_so(folder):
    """Its first two classes swap their ids, and every annotation with them: the AP must stay."""
    content = json.loads((folder / "val.json").read_text(encoding="utf-8"))
    first, second = (category["id"] for category in content["categories"][:2])
    other = {first: second, second: first}
    for entry in content["categories"]:
        entry["id"] = other.get(entry["id"], entry["id"])
    for entry in content["annotations"]:
        entry["category_id"] = other.get(entry["category_id"], entry["category_id"])
    (folder / "swapped.json").write_text(json.dumps(content), encoding="utf-8")
    plain = run(folder, GOLDEN, "--data", "val.json", "--train-data", "val.json", "--json", "plain.json")
    done = run(folder, GOLDEN, "--data", "swapped.json", "--images", "val", "--train-data", "swapped.json",
               "--json", "swapped_ap.json")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    expected, figures = (json.loads((folder / name).read_text()) for name in ("plain.json", "swapped_ap.json"))
    for key in ("ap", "classes", "frequency"):
        assert figures[key] == expected[key], key
    assert done.stdout.count(f"{content['categories'][0]['name']} is {second} here, {first} in the model") == 2
    assert "in the model" not in plain.stdout


def test_a_data_set_without_the_models_categories_is_one_sentence(folder):
    content = json.loads((folder / "val.json").read_text(encoding="utf-8"))
    content["categories"] = [{"id": 1, "name": "other"}]
    content["annotations"] = []
    (folder / "other.json").write_text(json.dumps(content), encoding="utf-8")
    done = run(folder, GOLDEN, "--data", "other.json", "--images", "val")
    assert done.returncode == 2
    assert "its classes are other, the model's are disc" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_onnx_runs_on_the_cpu_and_another_device_is_refused_not_ignored(folder):
    done = run(folder, GOLDEN, "--data", "val.json", "--device", "cuda")
    assert done.returncode == 2
    assert "cuda" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ap_by_class_frequency_is_shown_and_written_on_request(folder):
    plain = run(folder, GOLDEN, "--data", "val.json", "--json", "plain.json")
    assert "APr" not in plain.stdout
    assert "frequency" not in json.loads((folder / "plain.json").read_text())
    arguments = ["--data", "val.json", "--train-data", "val.json", "--frequency-limits", "8", "15", "--json", "ap.json"]
    done = run(folder, GOLDEN, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads((folder / "ap.json").read_text(encoding="utf-8"))
    groups: dict[str, list[float]] = {"rare": [], "common": [], "frequent": []}
    content = json.loads((folder / "val.json").read_text())
    for category, entry in zip(content["categories"], figures["classes"], strict=True):
        images = {a["image_id"] for a in content["annotations"] if a["category_id"] == category["id"]}
        groups["rare" if len(images) <= 8 else "common" if len(images) <= 15 else "frequent"].append(entry["ap"])
    assert sum(bool(aps) for aps in groups.values()) > 1
    for name, aps in groups.items():
        assert figures["frequency"]["classes"][name] == len(aps)
        expected = pytest.approx(sum(aps) / len(aps)) if aps else None
        assert figures["frequency"][f"ap_{name}"] == expected
    assert "APr" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--by-frequency"], "does not say where its training set lies: give --train-data FILE"),
        (["--train-data", "val.json", "--frequency-limits", "9", "9"], "must rise from 0 or more, got 9 9"),
        (["--train-data", "none.json"], "none.json do not exist"),
        (["--train-images", "val"], "--train-data"),
    ],
)
def test_a_wrong_request_by_frequency_is_one_sentence(folder, arguments, sentence):
    done = run(folder, GOLDEN, "--data", "val.json", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
