"""Reading LVIS: where its images lie, what a federated data set says, what is refused."""

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanogfl.data.cache.frames import without_unreadable
from nanogfl.data.readers.lvis import is_lvis
from nanogfl.data.readers.read import load_split
from nanogfl.errors import UserError
from tests.shared_data import shared

CATEGORIES = [
    {"id": 8, "name": "owl", "frequency": "r"},
    {"id": 3, "name": "cup", "frequency": "f"},
    {"id": 5, "name": "oar", "frequency": "c"},
]


def image(number, negative=(), not_exhaustive=(), **more):
    return {
        "id": number,
        "coco_url": f"http://images.example.org/val2017/{number:012d}.jpg",
        "width": 100,
        "height": 60,
        "neg_category_ids": list(negative),
        "not_exhaustive_category_ids": list(not_exhaustive),
        **more,
    }


def annotation(number, category, box=(1, 2, 10, 20), **more):
    return {"image_id": number, "category_id": category, "bbox": list(box), "area": 50.5, **more}


@pytest.fixture
def write_lvis(tmp_path):
    """(images, annotations, categories) -> (json, folder with an empty file for each image, below val2017)."""

    def write(images, annotations=(), categories=CATEGORIES):
        folder = tmp_path / "images"
        for entry in images:
            path = folder / "val2017" / str(entry.get("coco_url")).split("/")[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        numbered = [{"id": number, **entry} for number, entry in enumerate(annotations, 1)]
        file = tmp_path / "lvis.json"
        file.write_text(json.dumps({"images": images, "annotations": numbered, "categories": categories}))
        return file, folder

    return write


def test_negative_and_not_exhaustive_categories_become_dense_labels_by_image(write_lvis):
    images = [image(7, [8, 5], [3]), image(2), image(4, [3], [5, 3])]
    data = load_split(*write_lvis(images, [annotation(7, 3), annotation(2, 8)]))
    assert data.classes == ("cup", "oar", "owl")
    assert data.federated.frequency == ("frequent", "common", "rare")
    assert data.federated.negative == {7: {1, 2}, 2: set(), 4: {0}}
    assert data.federated.not_exhaustive == {7: {0}, 2: set(), 4: {0, 1}}
    assert [(i.id, i.labels.tolist(), i.hw) for i in data.images] == [
        (2, [2], (60, 100)),
        (4, [], (60, 100)),
        (7, [0], (60, 100)),
    ]
    assert data.images[2].boxes.tolist() == [[1, 2, 11, 22]]
    assert data.images[2].areas.tolist() == [50.5]
    assert data.problems == ()


@pytest.mark.parametrize("below", ["val2017", ""])
def test_without_a_file_name_an_image_is_found_by_its_url(write_lvis, below):
    file, folder = write_lvis([image(7), image(12)])
    data = load_split(file, folder if below else folder / "val2017")
    assert [i.path for i in data.images] == [
        folder / "val2017" / name for name in ("000000000007.jpg", "000000000012.jpg")
    ]


def test_file_name_goes_before_coco_url(write_lvis):
    images = [image(7, file_name="own.jpg"), image(12, file_name="COCO_val2014_000000000012.jpg")]
    file, folder = write_lvis(images)
    (folder / "own.jpg").touch()
    data = load_split(file, folder)
    assert [i.path.relative_to(folder).as_posix() for i in data.images] == ["own.jpg", "val2017/000000000012.jpg"]


def test_a_negative_category_with_boxes_counts_as_annotated(write_lvis):
    files = write_lvis([image(7, [3, 5]), image(9, [3])], [annotation(7, 3)])
    data = load_split(*files)
    assert data.federated.negative == {7: {1}, 9: {0}}
    assert data.images[0].labels.tolist() == [0]
    assert [(p.where, p.reason) for p in data.problems] == [
        ("image 7", "category both negative and annotated, taken as annotated: 3 cup")
    ]
    with pytest.raises(UserError, match="image 7: category both negative and annotated") as caught:
        load_split(*files, strict=True)
    assert "\n" not in str(caught.value)


def test_a_models_classes_decide_the_labels(write_lvis):
    data = load_split(*write_lvis([image(7, [5, 3], [8, 3])], [annotation(7, 8)]), class_ids=(8, 3))
    assert data.classes == ("owl", "cup")
    assert data.federated.frequency == ("rare", "frequent")
    assert data.federated.negative == {7: {1}}
    assert data.federated.not_exhaustive == {7: {0, 1}}


def without(entry, key):
    return {name: value for name, value in entry.items() if name != key}


@pytest.mark.parametrize(
    ("images", "annotations", "categories", "sentence"),
    [
        (
            [image(7)],
            [],
            [without(CATEGORIES[0], "frequency")],
            "category 8 owl has frequency None: LVIS needs 'r', 'c' or 'f'",
        ),
        ([image(7)], [], [{**CATEGORIES[0], "frequency": "x"}], "category 8 owl has frequency 'x'"),
        ([image(7)], [], [{**CATEGORIES[0], "frequency": "rc"}], "category 8 owl has frequency 'rc'"),
        ([image(7)], [], [{**CATEGORIES[0], "frequency": ["r"]}], r"category 8 owl has frequency \['r'\]"),
        (
            [image(7, [3, 99])],
            [],
            CATEGORIES,
            "image 7 has the unknown category 99 among its neg_category_ids: known are 3, 5, 8",
        ),
        (
            [image(7, [], [98])],
            [],
            CATEGORIES,
            "image 7 has the unknown category 98 among its not_exhaustive_category_ids",
        ),
        ([image(7), without(image(9), "neg_category_ids")], [], CATEGORIES, "image 9 has neg_category_ids None"),
        (
            [without(image(7), "not_exhaustive_category_ids")],
            [],
            CATEGORIES,
            "image 7 has not_exhaustive_category_ids None",
        ),
        ([image(7, neg_category_ids=3)], [], CATEGORIES, "image 7 has neg_category_ids 3: LVIS needs a list"),
        ([image(7, ["3"])], [], CATEGORIES, r"image 7 has neg_category_ids \['3'\]"),
        ([without(image(7), "coco_url")], [], CATEGORIES, "image 7 has neither 'file_name' nor 'coco_url'"),
        ([image(7, coco_url=5)], [], CATEGORIES, "image 7 has neither 'file_name' nor 'coco_url'"),
        ([image(7)], [annotation(7, 3, iscrowd=1)], CATEGORIES, "image 7 has a crowd region, which LVIS does not know"),
        ([image(7)], [annotation(7, 99)], CATEGORIES, "unknown category 99"),
        ([image(7)], [annotation(8, 3)], CATEGORIES, "names image 8, which is not in it"),
    ],
)
def test_bad_lvis_files_are_refused_with_one_sentence(write_lvis, images, annotations, categories, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        load_split(*write_lvis(images, annotations, categories))
    assert "\n" not in str(caught.value)
    assert "lvis.json" in str(caught.value)


def test_a_url_cannot_lead_out_of_the_folder(write_lvis, tmp_path):
    file, folder = write_lvis([image(7, coco_url="http://example.org/../secret.jpg")])
    (tmp_path / "secret.jpg").touch()
    (folder / "val2017/secret.jpg").unlink()
    with pytest.raises(UserError, match="lies outside of"):
        load_split(file, folder)


def test_an_image_entry_that_is_not_an_object_is_refused(write_lvis):
    file, folder = write_lvis([image(7)])
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "images": [*content["images"], 5]}))
    with pytest.raises(UserError, match="image 5 has no 'id'"):
        load_split(file, folder)


def test_the_content_decides_between_coco_and_lvis(write_lvis):
    file, folder = write_lvis([image(7, [5], file_name="val2017/000000000007.jpg")], [annotation(7, 3)])
    content = json.loads(file.read_text())
    assert is_lvis(content)
    assert load_split(file, folder).federated == load_split(file, folder).federated
    content["images"] = [without(content["images"][0], "neg_category_ids")]
    assert not is_lvis(content)
    file.write_text(json.dumps(content))
    plain = load_split(str(file), str(folder))
    assert plain.federated is None
    assert plain.classes == load_split(file, folder).classes
    assert plain.images[0].path == folder / "val2017/000000000007.jpg"
    with pytest.raises(UserError, match="no category with id 77"):
        load_split(file, folder, class_ids=(77,))


def test_federated_facts_survive_unreadable_images(write_lvis):
    file, folder = write_lvis([image(7, [5]), image(12, [3])])
    cv2.imwrite(str(folder / "val2017/000000000012.jpg"), np.zeros((60, 100, 3), np.uint8))  # the other is empty
    data = without_unreadable(load_split(file, folder), strict=False)
    assert [i.id for i in data.images] == [12]
    assert data.federated.negative[12] == {0}


def test_real_annotations_of_v0_5(tmp_path):
    file = shared("data/lvis_sample/lvis_val_100.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    for entry in content["images"]:
        (tmp_path / entry["coco_url"].split("/")[-1]).touch()  # not by file_name, which is COCO 2014's
    data = load_split(file, tmp_path, strict=True)
    assert (len(data.images), len(data.classes), data.problems) == (100, 1230, ())
    assert sum(len(i.boxes) for i in data.images) == 977
    assert Counter(data.federated.frequency) == {"common": 461, "rare": 454, "frequent": 315}
    for entry in content["images"]:
        assert [data.category_ids[i] for i in sorted(data.federated.negative[entry["id"]])] == sorted(
            entry["neg_category_ids"]
        )
    first = data.images[0]
    boxes = [a["bbox"] for a in content["annotations"] if a["image_id"] == first.id]
    expected = np.array([[x, y, x + w, y + h] for x, y, w, h in boxes])
    assert np.abs(first.boxes - expected).max() < 1e-3
    assert first.path == tmp_path / f"{first.id:012d}.jpg"

    # the same as v1 has it
    for entry in content["images"]:
        del entry["file_name"]
    again = Path(tmp_path / "v1.json")
    again.write_text(json.dumps(content))
    v1 = load_split(again, tmp_path)
    assert v1.federated == data.federated
    assert [i.path for i in v1.images] == [i.path for i in data.images]
