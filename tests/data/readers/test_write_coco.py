"""COCO json written from any format: `load_split` reads the very same."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanogfl.data.class_counts import count_in_file, images_per_class
from nanogfl.data.dataset import DataSet
from nanogfl.data.readers.read import load_split
from nanogfl.data.readers.write_coco import write_coco
from nanogfl.errors import UserError
from tests.data.any_format import LVIS, write_named
from tests.data.voc_set import box, draw_image, thing, write_voc, xml
from tests.data.yolo_set import write_yolo
from tests.shared_data import shared


def assert_same(one: DataSet, other: DataSet) -> None:
    """But for their names, their problems, and what was said of the boxes before they were clipped: to the bit."""
    assert (one.classes, one.category_ids) == (other.classes, other.category_ids)
    assert len(one.images) == len(other.images)
    for a, b in zip(one.images, other.images, strict=True):
        for field in filter(lambda field: field.compare and field.name not in ("reach_hw", "measured"), fields(a)):
            left, right = getattr(a, field.name), getattr(b, field.name)
            if isinstance(left, np.ndarray):
                assert left.dtype == right.dtype
                np.testing.assert_array_equal(left, right)
            else:
                assert left == right


def round_trip(dataset: DataSet, images: Path, output: Path) -> DataSet:
    write_coco(dataset, images, output)
    return load_split(output, images, strict=True)  # nothing is left to list


def test_voc_comes_back_with_difficult_objects_gaps_and_subfolders(tmp_path):
    files = {
        "a": xml(thing("dog", box(-9, 0.1, 33.3, 17)), thing("cat", f"<difficult>1</difficult>{box(1, 2, 3, 4)}")),
        "b": "<broken",
        "c": xml(thing("ape", box(5, 5, 5, 5))),
    }
    split, images = write_voc(tmp_path, files, draw=False)
    draw_image(images / "val/a.png")
    draw_image(images / "c.png")
    dataset = load_split(split, images)
    again = round_trip(dataset, images, tmp_path / "out/coco.json")
    assert_same(dataset, again)
    assert [image.id for image in again.images] == [1, 3]
    assert again.images[0].crowd.tolist() == [False, True]
    content = json.loads((tmp_path / "out/coco.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["val/a.png", "c.png"]
    assert [annotation["id"] for annotation in content["annotations"]] == [1, 2]
    assert content["annotations"][1] == {
        "id": 2, "image_id": 1, "category_id": 2, "bbox": [1, 2, 2, 2], "area": 4, "iscrowd": 1,
    }  # fmt: skip
    assert str(tmp_path) not in json.dumps(content)


def test_the_real_data_sets_come_back(tmp_path):
    images = shared("data/bccd")
    dataset = load_split(shared("data/bccd_voc/ImageSets/Main/trainval.txt"), images)
    assert_same(dataset, round_trip(dataset, images, tmp_path / "bccd.json"))
    images = shared("data/coco_mini/val")
    dataset = load_split(shared("data/coco_mini/val.json"), images)
    assert_same(dataset, round_trip(dataset, images, tmp_path / "coco.json"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("yolo")


NUMBERS = st.floats(0, 1, width=64) | st.floats(0, 1e-6) | st.floats(0.999999, 1)


@settings(max_examples=30, deadline=None)
@given(lines=st.lists(st.tuples(st.integers(0, 1), NUMBERS, NUMBERS, NUMBERS, NUMBERS), max_size=6))
def test_any_boxes_come_back_to_the_bit(folder, lines):
    if not (folder / "data.yaml").exists():
        write_yolo(folder, {"a": None})
    lines = [(0, 0.5, 0.5, 0.5, 0.5), *lines]  # with tiny boxes only the json would be taken for fractions
    (folder / "labels/train/a.txt").write_text("\n".join(" ".join(map(repr, line)) for line in lines))
    dataset = load_split(folder / "data.yaml", folder / "images/train")
    assert_same(dataset, round_trip(dataset, folder / "images/train", folder / "out.json"))


def test_a_linked_image_is_written_under_its_own_name(tmp_path):
    file, images = write_yolo(tmp_path / "set", {"a": "0 .5 .5 .2 .2"})
    draw_image(tmp_path / "store/x.png")
    (images / "b.png").symlink_to(tmp_path / "store/x.png")
    (images / "c").symlink_to(tmp_path / "store")
    dataset = load_split(file, images)
    assert_same(dataset, round_trip(dataset, images, tmp_path / "out.json"))
    content = json.loads((tmp_path / "out.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.png", "b.png", "c/x.png"]


def test_classes_are_counted_alike_in_every_format(tmp_path):
    difficult = f"<difficult>1</difficult>{box(1, 2, 3, 4)}"
    files = {"a": xml(thing("cat"), thing("cat")), "b": xml(thing("cat"), thing("dog", difficult)), "c": xml()}
    split, images = write_voc(tmp_path / "voc", files)
    dataset = load_split(split, images)
    assert images_per_class(dataset).tolist() == [2, 0]
    assert count_in_file(split, ("cat", "dog"), (1, 2), images).counts.tolist() == [2, 0]
    assert count_in_file(split, ("dog", "cat", "fox"), (4, 5, 6), images).counts.tolist() == [0, 2, 0]
    write_coco(dataset, images, tmp_path / "coco.json")
    assert count_in_file(tmp_path / "coco.json", ("cat", "dog"), (1, 2)).counts.tolist() == [2, 0]

    file, images = write_yolo(tmp_path / "yolo", {"a": "1 .5 .5 .2 .2\n1 .5 .5 .1 .1", "b": "1 .5 .5 .2 .2", "c": None})
    assert count_in_file(file, ("dog",), (7,), images).counts.tolist() == [2]
    with pytest.raises(UserError, match="give their folder, too"):
        count_in_file(file, ("dog",), (7,))
    with pytest.raises(UserError, match="no class 'fox'"):
        count_in_file(file, ("fox",), (7,), images)


def test_an_unknown_suffix_is_refused(tmp_path):
    expected = r"boxes\.csv ends in \.csv, but annotations are COCO's or LVIS's \.json, the \.txt list"
    with pytest.raises(UserError, match=expected):
        load_split(tmp_path / "boxes.csv", tmp_path)


@pytest.mark.parametrize("flag", [1, "1", True, "true", None, [0], "no", 2])
def test_crowds_and_bad_flags_count_for_no_class(tmp_path, flag):
    file, images = write_named("coco", tmp_path, ["a.png"], annotation={"iscrowd": flag})
    draw_image(images / "a.png")
    assert count_in_file(file, ("cat",), (1,)).counts.tolist() == [0]
    assert images_per_class(load_split(file, images)).tolist() == [0]


@pytest.mark.parametrize("kind", ["coco", LVIS])
@pytest.mark.parametrize("key", ["image_id", "category_id"])
@pytest.mark.parametrize("value", [[1], None, True, "1", 1.5, float("nan"), pytest.param(10**400, id="long")])
def test_a_bad_id_is_one_sentence_with_and_without_images(tmp_path, kind, key, value):
    file, images = write_named(kind, tmp_path, ["a.png"], annotation={key: value})
    for read in (lambda: count_in_file(file, ("cat",), (1,)), lambda: load_split(file, images)):
        with pytest.raises(UserError, match=key) as raised:
            read()
        assert "\n" not in str(raised.value)
