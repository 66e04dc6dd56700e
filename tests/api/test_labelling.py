"""`label`: what our readers read back, which files are left alone, and the order of the images."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanogfl import UserError, label
from nanogfl.api.model import Model
from nanogfl.contract.detections import Detections
from nanogfl.data.readers.read import load_split
from tests.commands import python
from tests.deploy.test_torch_free import BLOCKER

GOLDEN = Path(__file__).parents[1] / "golden" / "blank_detections.onnx"
NAMES = ("red cat", "dog: 'näh'")
IDS = (3, 7)


def draw(path, hw=(60, 100), level=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.full((*hw, 3), level, np.uint8))[1].tobytes())


def found(*rows):
    """(x1, y1, x2, y2, score, label) per row; every side has a deviation of 2 pixels."""
    table = np.array(rows, dtype=np.float32).reshape(-1, 6)
    spread = np.full((len(table), 4), 2, dtype=np.float32)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64), spread)


def model(*rows, by_level=None):
    """Detects the same in every picture, or what `by_level` says for its grey level."""
    detect = lambda frame: (by_level or {}).get(int(frame[0, 0, 0]), found(*rows))  # noqa: E731
    return Model(Path("m.onnx"), detect, NAMES, IDS, has_spread=True, keep=100)


TWO = ((10, 5, 50.25, 25, 0.9, 0), (0, 0, 100, 60, 0.4, 1), (1, 1, 9, 9, 0.39, 1))
READ = {
    "coco": ("labels.json", "images"),
    "yolo": ("data.yaml", "images"),
    "voc": ("ImageSets/Main/all.txt", "JPEGImages"),
}


def order_of(folder):
    with (folder / "order.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", READ)
def test_our_readers_read_the_labels_back(tmp_path, kind):
    photos = tmp_path / "my photos"
    for name in ("a b#1.PNG", "ä/ü.jpeg", "ä/deep/b.b.png"):
        draw(photos / name)
    label(photos, tmp_path / "out", model(*TWO), output_format=kind)
    annotations, images = (tmp_path / "out" / part for part in READ[kind])
    dataset = load_split(annotations, images, strict=True)
    assert {image.path.relative_to(images).as_posix() for image in dataset.images} == {
        "a b#1.PNG", "ä/ü.jpeg", "ä/deep/b.b.png",
    }  # fmt: skip
    names = [dataset.classes[number] for number in dataset.images[0].labels]
    assert names == list(NAMES)
    for image in dataset.images:
        assert image.hw == (60, 100)
        np.testing.assert_allclose(image.boxes, [[10, 5, 50.25, 25], [0, 0, 100, 60]], atol=1e-3)
    if kind == "coco":
        assert dataset.category_ids == IDS


def test_the_image_in_most_doubt_is_first_and_one_without_detections_last(tmp_path):
    photos = tmp_path / "photos"
    sure, doubtful, unsure = (20, 20, 60, 40, 0.95, 0), (20, 20, 60, 40, 0.42, 0), (20, 20, 28, 24, 0.95, 0)
    for level, name in enumerate(("none", "sure", "near", "spread"), start=1):
        draw(photos / f"{name}.png", level=level)
    by_level = {1: found(), 2: found(sure), 3: found(doubtful), 4: found(unsure)}
    labels = label(photos, tmp_path / "out", model(by_level=by_level))
    assert [name for name, *_ in labels.order] == ["near.png", "spread.png", "sure.png", "none.png"]
    rows = order_of(tmp_path / "out")
    assert [row["image"] for row in rows] == [name for name, *_ in labels.order]
    # by hand: 1 - (.42 - .4) / .6 + mean of 2/40, 2/20, 2/40, 2/20
    assert float(rows[0]["doubt"]) == pytest.approx(1 - 0.02 / 0.6 + 0.075, abs=1e-4)
    assert rows[-1] == {"image": "none.png", "doubt": "0.0000", "boxes": "0"}


def test_a_bad_image_is_left_out_and_listed(tmp_path, capsys):
    photos = tmp_path / "photos"
    draw(photos / "good.png")
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xffnot much")
    (photos / "notes.txt").write_text("no image")
    labels = label(photos, tmp_path / "out", model(*TWO), verbose=True)
    assert len(labels.left_out) == 1
    assert "bad.jpg" in labels.left_out[0]
    assert labels.left_out[0] in capsys.readouterr().out
    assert len(load_split(tmp_path / "out/labels.json", photos).images) == 1


@pytest.mark.parametrize("kind", READ)
def test_a_stopped_run_goes_on_and_corrected_labels_stay(tmp_path, kind):
    photos, out = tmp_path / "photos", tmp_path / "out"
    for level in range(1, 5):
        draw(photos / f"{level}.png", level=level)

    def stop(frame):
        if frame[0, 0, 0] == 3:
            raise KeyboardInterrupt
        return found(*TWO)

    stopped = Model(Path("m.onnx"), stop, NAMES, IDS, has_spread=True, keep=100)
    with pytest.raises(KeyboardInterrupt):
        label(photos, out, stopped, output_format=kind)
    assert not (out / "order.csv").exists()
    written = sorted(path for path in out.rglob("[12].*") if path.suffix in (".txt", ".xml") and path.is_file())
    assert len(written) == (0 if kind == "coco" else 2)
    for path in written:
        path.write_bytes(path.read_bytes() + b"\n")  # corrected by hand
    corrected = [path.read_bytes() for path in written]
    labels = label(photos, out, model(*TWO), output_format=kind)
    assert (labels.kept, len(labels.order)) == (len(written), 4)
    assert [path.read_bytes() for path in written] == corrected
    assert len(load_split(out / READ[kind][0], out / READ[kind][1]).images) == 4


def test_a_finished_run_is_written_over_only_by_force(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    draw(photos / "a.png")
    label(photos, out, model(*TWO), output_format="yolo")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"order\.csv is already there: .*--force"):
        label(photos, out, model(), output_format="yolo")
    assert {path: path.read_bytes() for path in before} == before
    label(photos, out, model(), output_format="yolo", force=True)
    assert (out / "labels/a.txt").read_bytes() == b""


def test_what_cannot_be_labelled_is_one_sentence_and_writes_nothing(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    draw(photos / "a.png")
    draw(photos / "a.jpg")

    def refused(*arguments, **named):
        with pytest.raises(UserError) as caught:
            label(*arguments, **named)
        return str(caught.value)

    assert "same label file" in refused(photos, out, model(*TWO), output_format="voc")
    assert "not a folder" in refused(photos / "a.png", out, model(*TWO))
    assert "folder of the images" in refused(photos, photos / "labels", model(*TWO))
    (tmp_path / "none").mkdir()
    assert "has no images" in refused(tmp_path / "none", out, model(*TWO))
    assert "--format must be one of" in refused(photos, out, model(*TWO), output_format="csv")
    draw(tmp_path / "set/images/a.png")
    assert "called images" in refused(tmp_path / "set", out, model(*TWO), output_format="yolo")
    same = Model(Path("m.onnx"), model(*TWO).detect, ("cat", "cat"), IDS, has_spread=True, keep=100)
    assert "two classes named 'cat'" in refused(photos, out, same, output_format="voc")
    assert not out.exists()
    (out / "images").mkdir(parents=True)
    assert "is not" in refused(photos, out, model(*TWO))


def test_an_onnx_labels_without_torch_or_pycocotools(tmp_path):
    draw(tmp_path / "photos/a.png", hw=(64, 96))
    code = """
from nanogfl.cli.main import main
sys.argv = ["nanogfl", "label", *sys.argv[1:], "--format", "voc"]
main()
"""
    arguments = [tmp_path / "photos", "--model", GOLDEN, "-o", tmp_path / "out"]
    done = python("-c", BLOCKER + code, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "least certain first" in done.stdout
    assert (tmp_path / "out/Annotations/a.xml").is_file()
