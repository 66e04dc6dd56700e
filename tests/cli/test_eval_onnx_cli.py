"""`nanogfl eval` of an .onnx; this runs in the environment without torch, too."""

import json
from pathlib import Path

import pytest

from nanogfl.data.readers.read import load_split
from nanogfl.data.synthetic.dataset import draw_dataset
from nanogfl.evaluation.coco_ap import evaluate
from nanogfl_deploy import Detector
from tests.commands import accepted, nanogfl, process, refused
from tests.data.yolo_set import yolo_copy

GOLDEN = Path(__file__).parents[1] / "golden" / "embedded.onnx"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, train=1, val=30)
    return folder


def run(folder, *arguments):
    return nanogfl(folder, "eval", *arguments)


def test_its_ap_is_that_of_the_detector_on_the_data_set(folder):
    said = accepted(process(folder, "eval", GOLDEN, "--data", "val.json", "--json", "ap.json"))
    figures = json.loads((folder / "ap.json").read_text(encoding="utf-8"))
    expected = evaluate(Detector(GOLDEN), load_split(folder / "val.json", folder / "val"))
    assert figures["ap"] == expected.ap > 0.3
    assert f"{expected.ap:.3f}" in said
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


def test_what_does_not_fit_is_one_sentence(folder, tmp_path):
    content = json.loads((folder / "val.json").read_text(encoding="utf-8"))
    other = {**content, "categories": [{"id": 1, "name": "other"}], "annotations": []}
    (folder / "other.json").write_text(json.dumps(other), encoding="utf-8")
    labels = tmp_path / "data.yaml"  # their images are found beside them
    for arguments, sentence in (
        ([], "give --data FILE --images FOLDER"),
        (["--data", labels], "needs its image folder: give --images FOLDER"),
        (["--data", "val.json", "--train-data", labels], "--train-images"),
        (["--data", "other.json", "--images", "val"], "its classes are other, the model's are disc"),
        (["--data", "val.json", "--device", "cuda"], "cuda"),  # an .onnx runs on the CPU
        (["--data", "val.json", "--by-frequency"], "does not say where its training set lies: give --train-data FILE"),
        (["--data", "val.json", "--train-data", "val.json", "--frequency-limits", 9, 9], "must rise from 0 or more"),
        (["--data", "val.json", "--train-data", "none.json"], "none.json do not exist"),
        (["--data", "val.json", "--train-images", "val"], "--train-data"),
    ):
        assert sentence in refused(run(folder, GOLDEN, *arguments)), arguments
