"""Phone pictures, which EXIF turns, from each kind of annotations to what is advised."""

import json

import cv2
import numpy as np
import pytest

from nanogfl.data.lint.finding import Split
from nanogfl.data.lint.run import check_images
from nanogfl.data.readers.read import load_split
from tests.data.lint.test_files import jpeg, picture, turned_jpeg

STORED, READ = (60, 100), (100, 60)
"""height and width in the file, and after the turn"""


def coco(folder, hw, box):
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": hw[0], "width": hw[1]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "train.json").write_text(json.dumps(content))
    return folder / "train.json"


def voc(folder, hw, box):
    size = f"<size><width>{hw[1]}</width><height>{hw[0]}</height></size>" if hw else ""
    corners = zip(("xmin", "ymin", "xmax", "ymax"), (box[0], box[1], box[0] + box[2], box[1] + box[3]), strict=True)
    bndbox = "".join(f"<{side}>{value}</{side}>" for side, value in corners)
    for part in ("Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    (folder / "Annotations/a.xml").write_text(
        f"<annotation><filename>a.jpg</filename>{size}<object><name>cat</name><bndbox>{bndbox}</bndbox></object></annotation>"
    )
    (folder / "ImageSets/Main/train.txt").write_text("a\n")
    return folder / "ImageSets/Main/train.txt"


def yolo(folder, hw, box):
    (folder / "labels").mkdir()
    (folder / "labels/a.txt").write_text("0 .5 .5 .4 .9\n")
    (folder / "data.yaml").write_text("names: [cat]\n")
    return folder / "data.yaml"


TALL, WIDE, SMALL = [5, 10, 40, 80], [10, 5, 80, 40], [5, 5, 20, 20]


@pytest.mark.parametrize(
    ("write", "hw", "box", "key", "advised"),
    [
        (coco, STORED, TALL, "exif-size-swapped", "swap"),
        (coco, STORED, WIDE, "exif-as-stored", "remove the orientation"),
        (coco, STORED, SMALL, "exif-size-unclear", "look"),
        (coco, READ, TALL, "exif-turned", "nothing to do"),
        (voc, STORED, TALL, "exif-size-swapped", "swap"),
        (voc, STORED, WIDE, "exif-as-stored", "remove the orientation"),
        (voc, READ, TALL, "exif-turned", "nothing to do"),
        (voc, None, TALL, "exif-unstated", "look"),
        (yolo, None, None, "exif-unstated", "look"),
    ],
)
def test_what_is_advised_mends_the_side_that_is_wrong(tmp_path, monkeypatch, by_key, write, hw, box, key, advised):
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(turned_jpeg(picture(0, STORED), 6))
    assert cv2.imread(str(tmp_path / "images/a.jpg")).shape[:2] == READ
    train = Split("train", load_split(write(tmp_path, hw, box), tmp_path / "images"))
    (tmp_path / "val").mkdir()
    (tmp_path / "val/a.jpg").write_bytes(jpeg(picture(5, STORED)))
    (tmp_path / "of_val").mkdir()
    val = Split("val", load_split(coco(tmp_path / "of_val", STORED, SMALL), tmp_path / "val"))
    findings = by_key(check_images(train, val))
    assert list(findings) == [key]
    assert advised in findings[key].advice
    assert "a.jpg" in findings[key].examples[0].text


def test_the_reach_of_boxes_is_that_which_was_written(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(jpeg(picture(0, STORED)))
    (image,) = load_split(coco(tmp_path, STORED, [5, 10, 140, 80]), tmp_path / "images").images
    assert image.reach_hw == (90, 145)
    assert not image.measured
    assert np.array_equal(image.boxes, [[5, 10, 100, 60]])
