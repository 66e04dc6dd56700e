"""A model's classes are found in a data set by their names, whichever format it is in."""

import json

import pytest

from nanogfl.data.class_counts import count_in_file
from nanogfl.data.readers.read import load_split
from nanogfl.errors import UserError
from tests.data.voc_set import box, draw_image, thing, write_voc, xml
from tests.data.yolo_set import write_yolo


def coco(root, names, extra=None):
    """One image: the first name's box is 10 wide, the second's 20, and so on; names have the ids 1, 2, ..."""
    root.mkdir(exist_ok=True)
    draw_image(root / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 60, **(extra or {})}],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": k, "bbox": [1, 1, 10 * k, 9], "area": 1, "iscrowd": 0}
            for k in range(1, len(names) + 1)
        ],
        "categories": [{"id": k, "name": name, "frequency": "f"} for k, name in enumerate(names, start=1)],
    }
    file = root / "a.json"
    file.write_text(json.dumps(content))
    return file, root


def lvis(root, names):
    return coco(root, names, {"neg_category_ids": [], "not_exhaustive_category_ids": []})


def voc(root, names):
    return write_voc(root, {"a": xml(*(thing(name, box(1, 1, 1 + 10 * k, 9)) for k, name in enumerate(names, 1)))})


def yolo(root, names):
    lines = (f"{k} {(1 + 5 * (k + 1)) / 100} .2 {(k + 1) / 10} .1" for k in range(len(names)))
    return write_yolo(root, {"a": "\n".join(lines)}, f"names: {json.dumps(names)}")


FORMATS = pytest.mark.parametrize("write", [coco, lvis, voc, yolo])


def widths_by_class(dataset):
    image = dataset.images[0]
    widths = (image.boxes[:, 2] - image.boxes[:, 0]).round().astype(int).tolist()
    return {dataset.classes[label]: width for label, width in zip(image.labels, widths, strict=True)}


@FORMATS
def test_swapped_names_are_matched_and_differing_numbers_are_listed(write, tmp_path):
    ids = (0, 1) if write is yolo else (1, 2)
    dataset = load_split(*write(tmp_path / "x", ["dog", "cat"]), strict=True, class_ids=ids, class_names=("cat", "dog"))
    assert dataset.classes == ("cat", "dog")
    assert widths_by_class(dataset) == {"dog": 10, "cat": 20}
    said = " ".join(problem.reason for problem in dataset.problems)
    assert ("cat" in said and "dog" in said) == (write is not voc)
    same = load_split(*write(tmp_path / "y", ["cat", "dog"]), class_ids=ids, class_names=("cat", "dog"))
    assert same.problems == ()


@FORMATS
@pytest.mark.parametrize("name", ["fox", "Cat", "cat ", "c at"])
def test_a_missing_name_is_refused_with_both_lists(write, name, tmp_path):
    if write is voc and name == "cat ":
        pytest.skip("whitespace around a <name> is no part of it")
    with pytest.raises(UserError) as caught:
        load_split(*write(tmp_path / "x", [name, "owl"]), class_ids=(1,), class_names=("cat",))
    sentence = str(caught.value)
    assert "cat" in sentence
    assert f"{name}, owl" in sentence or f"owl, {name}" in sentence
    if write is not voc:
        assert "rename" in sentence
        assert ("differs in case or spaces" in sentence) == (name != "fox")


@FORMATS
def test_classes_that_the_model_does_not_know_are_left_out_and_named(write, tmp_path):
    files = write(tmp_path / "x", ["cat", "dog", "owl"])
    dataset = load_split(*files, strict=True, class_ids=(2,), class_names=("dog",))
    assert widths_by_class(dataset) == {"dog": 20}
    assert "cat, owl" in " ".join(problem.reason for problem in dataset.problems)


def test_ids_decide_between_classes_of_one_name(tmp_path):
    files = coco(tmp_path / "x", ["cell", "cell", "ring"])
    dataset = load_split(*files, class_ids=(1, 2, 3), class_names=("cell", "cell", "ring"))
    assert dataset.images[0].labels.tolist() == [0, 1, 2]
    assert dataset.problems == ()
    with pytest.raises(UserError, match="2 and the model 2 classes named 'cell'"):
        load_split(*files, class_ids=(7, 8, 3), class_names=("cell", "cell", "ring"))
    one = coco(tmp_path / "y", ["cell", "ring"])
    with pytest.raises(UserError, match="1 and the model 2 classes named 'cell'"):
        load_split(*one, class_ids=(5, 6, 2), class_names=("cell", "cell", "ring"))


@FORMATS
def test_the_images_of_a_class_are_counted_by_the_same_rule(write, tmp_path):
    file, images = write(tmp_path / "x", ["dog", "cat", "cat2"])
    counts, notes = count_in_file(file, ("cat", "dog"), (1, 2), images)
    assert counts.tolist() == [1, 1]
    assert "cat2" in " ".join(note.reason for note in notes)
    with pytest.raises(UserError, match="fox"):
        count_in_file(file, ("fox",), (1,), images)
