"""Reading COCO: what becomes an object, what is listed, what is refused."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nanogfl.data.readers.read import load_split
from nanogfl.errors import UserError

SHARED = Path(__file__).parents[3] / "../shared/data"


def annotation(box, image=1, category=1, **more):
    return {"image_id": image, "category_id": category, "bbox": box, **more}


def test_category_ids_with_gaps_become_dense_labels_in_their_order(write_coco):
    categories = [{"id": 90, "name": "z"}, {"id": 4, "name": "c"}, {"id": 1, "name": "a"}, {"id": 17, "name": "unused"}]
    boxes = [annotation([1, 2, 10, 20], category=90), annotation([3, 4, 5, 6], category=4)]
    dataset = load_split(*write_coco(boxes, categories))
    assert dataset.classes == ("a", "c", "unused", "z")
    assert dataset.category_ids == (1, 4, 17, 90)
    assert dataset.images[0].labels.tolist() == [3, 1]
    assert dataset.problems == ()


def test_boxes_become_corners_and_types_are_what_the_pipeline_expects(write_coco):
    record = load_split(*write_coco([annotation([1.5, 2, 10, 20])])).images[0]
    assert record.boxes.tolist() == [[1.5, 2, 11.5, 22]]
    assert (record.boxes.dtype, record.labels.dtype, record.crowd.dtype) == (np.float32, np.int64, np.bool_)
    assert record.hw == (60, 100)


def test_images_without_boxes_are_kept_with_empty_arrays(write_coco):
    dataset = load_split(*write_coco([annotation([1, 2, 10, 20], image=2)]))
    assert [image.id for image in dataset.images] == [1, 2]
    empty = dataset.images[0]
    assert (empty.boxes.shape, empty.labels.shape, empty.areas.shape, empty.crowd.shape) == ((0, 4), (0,), (0,), (0,))
    assert "2 images, 1 boxes of 1 classes, 1 images without objects" in dataset.summary()


def test_crowd_is_kept_as_crowd_and_not_counted_as_an_object(write_coco):
    boxes = [
        annotation([1, 2, 10, 20], iscrowd=1),
        annotation([1, 2, 10, 20], image=2),
        annotation([5, 5, 9, 9], image=2),
    ]
    dataset = load_split(*write_coco(boxes))
    assert [image.crowd.tolist() for image in dataset.images] == [[True], [False, False]]
    assert "2 boxes" in dataset.summary()
    assert "1 crowd" in dataset.summary()
    assert "1 images without objects" in dataset.summary()


def test_the_annotated_area_is_kept_and_a_bad_one_is_the_boxs(write_coco):
    boxes = [annotation([0, 0, 10, 20], area=a) for a in (33.5, None, 0, -1, float("nan"), "big", 1e300, 10**400)]
    boxes.append(annotation([0, 0, 10, 20]))
    assert load_split(*write_coco(boxes)).images[0].areas.tolist() == [33.5] + [200] * 8


BAD = {
    "zero width": ([5, 5, 0, 10], "empty box"),
    "negative height": ([5, 5, 10, -3], "empty box"),
    "right of the image": ([100, 5, 10, 10], "box outside"),
    "above the image": ([5, -10, 10, 10], "box outside"),
    "not a number": ([float("nan"), 5, 10, 10], "bad box"),
    "infinite": ([5, 5, float("inf"), 10], "bad box"),
    "three numbers": ([5, 5, 10], "bad box"),
    "text": (["5", 5, 10, 10], "bad box"),
    "nothing": (None, "bad box"),
    "a number without end": ([5, 5, 10**400, 10], "bad box"),
    "thinner than a float32 can tell": ([5, 5, 1e-9, 10], "empty box"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_box_that_cannot_be_used_is_left_out_and_listed(write_coco, name):
    box, reason = BAD[name]
    files = write_coco([annotation(box), annotation([5, 5, 10, 10])])
    dataset = load_split(*files)
    assert dataset.images[0].boxes.tolist() == [[5, 5, 15, 15]]
    (problem,) = dataset.problems
    assert problem.reason.startswith(reason)
    assert "1.png, annotation 1" in problem.where
    assert dataset.problem_summary().startswith(f"1 x {reason}")
    with pytest.raises(UserError, match=reason):
        load_split(*files, strict=True)


def test_a_box_that_reaches_outside_is_clipped_and_listed_beyond_a_pixel(write_coco):
    files = write_coco([annotation([90, 50, 30, 30]), annotation([-0.5, 0, 10, 60.9])])
    dataset = load_split(*files)
    assert dataset.images[0].boxes.tolist() == [[90, 50, 100, 60], [0, 0, 9.5, 60]]
    (problem,) = dataset.problems
    assert "clipped" in problem.reason
    assert "annotation 1" in problem.where


def test_a_missing_image_is_left_out_and_listed(write_coco):
    path, folder = write_coco([annotation([1, 2, 10, 20], image=2)])
    (folder / "1.png").unlink()
    dataset = load_split(path, folder)
    assert [image.id for image in dataset.images] == [2]
    assert dataset.problems[0].where == "1.png"
    with pytest.raises(UserError, match="image is missing"):
        load_split(path, folder, strict=True)
    (folder / "2.png").unlink()
    with pytest.raises(UserError, match="no usable image"):
        load_split(path, folder)


def test_images_in_subfolders_are_found(write_coco):
    dataset = load_split(*write_coco([], images=[{"id": 5, "file_name": "a/x.png", "width": 8, "height": 6}]))
    assert dataset.images[0].path.is_file()
    assert dataset.problems == ()


IMAGE = {"id": 1, "file_name": "1.png", "width": 100, "height": 60}


@pytest.mark.parametrize(
    ("annotations", "images", "message"),
    [
        ([annotation([1, 1, 5, 5], category=7)], None, "unknown category 7"),
        ([annotation([1, 1, 5, 5], category=[1])], None, "category_id"),
        ([annotation([1, 1, 5, 5], image=9)], None, "image 9"),
        ([annotation([1, 1, 5, 5], image=None)], None, "image_id None"),
        ([{"image_id": 1, "bbox": [1, 1, 5, 5]}], None, "no 'category_id'"),
        ([annotation([1, 1, 5, 5])], [IMAGE, IMAGE], "two images with the same id"),
        ([], [{**IMAGE, "file_name": "a\0b"}], "not a name that a file can have"),
        ([], [{**IMAGE, "file_name": "\ud800"}], "not a name that a file can have"),
        ([], [{**IMAGE, "file_name": "a" * 5000}], "no usable image .* image is missing"),
        ([], [{**IMAGE, "id": "first"}], "id 'first'"),
        ([], [{"id": 1, "width": 5, "height": 5}], "no 'file_name'"),
        ([], [{**IMAGE, "file_name": "../coco.json"}], "outside of"),
        ([], [{**IMAGE, "file_name": os.path.abspath(__file__)}], "outside of"),
    ],
)
def test_contradictions_are_refused_with_one_sentence(write_coco, annotations, images, message):
    files = write_coco(annotations, images=images, draw=images is None)
    with pytest.raises(UserError, match=message) as raised:
        load_split(*files)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "two categories have the id 1"),
        ([{"id": "1", "name": "a"}], "whole number"),
        ([{"id": True, "name": "a"}], "whole number"),
        ([{"id": 1}], "'name'"),
        *(([{"id": 1, "name": name}], "'name'") for name in (None, "", " ", True, ["a"], {"en": "a"})),
    ],
)
def test_bad_categories_are_refused(write_coco, categories, message):
    with pytest.raises(UserError, match=message):
        load_split(*write_coco([], categories))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "no list 'images'"),
        ('{"images": [], "annotations": {}}', "no list 'annotations'"),
        ('{"images": [], "annotations": []}', "no list 'categories'"),
        ('{"images": [], "annotations": [], "categories": []}', "no categories"),
        ('{"images": [3], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "image 3 has no 'id'"),
        ("[" * 100_000, "not valid JSON"),
        ("9" * 5000, "not valid JSON"),
    ],
)
def test_a_file_in_another_layout_is_refused(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=message):
        load_split(tmp_path / "x.json", tmp_path)


def test_missing_files_and_folders_are_named(tmp_path, write_coco):
    path, folder = write_coco([])
    with pytest.raises(UserError, match=r"none\.json do not exist"):
        load_split(tmp_path / "none.json", folder)
    with pytest.raises(UserError, match="none does not exist"):
        load_split(path, tmp_path / "none")
    with pytest.raises(UserError, match="cannot be read"):
        load_split(tmp_path, folder)


def test_the_models_category_ids_decide_the_classes_and_their_order(write_coco):
    categories = [{"id": 1, "name": "a"}, {"id": 5, "name": "b"}, {"id": 9, "name": "c"}]
    files = write_coco([annotation([1, 1, 5, 5], category=i) for i in (1, 5, 9)], categories)
    dataset = load_split(*files, class_ids=(9, 1))
    assert dataset.classes == ("c", "a")
    assert dataset.images[0].labels.tolist() == [1, 0]  # b, unknown to the model, is left out
    assert dataset.problems == ()
    with pytest.raises(UserError, match="no category with id 3"):
        load_split(*files, class_ids=(1, 3))


@pytest.mark.parametrize(
    ("name", "split", "images", "boxes", "classes"),
    [
        ("bccd", "train", 292, 3941, 3),
        ("bccd", "val", 72, 945, 3),
        ("coco_mini", "train", 90, 803, 80),
        ("coco_mini", "val", 66, 560, 80),
    ],
)
def test_real_data_sets_count_as_their_json_does(name, split, images, boxes, classes):
    file = SHARED / name / f"{split}.json"
    if not file.is_file():
        pytest.skip(f"{name} is not in ../shared/data")
    dataset = load_split(file, SHARED / name / split)
    content = json.loads(file.read_text())
    assert len(dataset.images) == len(content["images"]) == images
    assert sum(len(image.boxes) for image in dataset.images) == len(content["annotations"]) == boxes
    assert len(dataset.classes) == classes
    names = {c["id"]: c["name"] for c in content["categories"]}
    expected = Counter(names[a["category_id"]] for a in content["annotations"] if not a.get("iscrowd"))
    found = Counter(dataset.classes[label] for image in dataset.images for label in image.labels[~image.crowd])
    assert found == expected
    if name == "coco_mini":
        assert (dataset.category_ids[0], dataset.category_ids[-1]) == (1, 90)
        assert any(image.crowd.any() for image in dataset.images)
