"""The embedded data set with a long tail: frequencies, colours, a balanced validation; and the default as it was."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanogfl.data.synthetic.catalogue import COLOURS, long_tail, tail_shares
from nanogfl.data.synthetic.dataset import FIRST_VAL_INDEX, STAMP, draw_dataset, draw_image
from nanogfl.data.synthetic.shapes import SHAPES
from nanogfl.errors import UserError

HW = (96, 128)


def names(folder: Path, split: str) -> Counter[str]:
    """Objects of each class in a split."""
    content = json.loads((folder / f"{split}.json").read_text())
    name_of = {category["id"]: category["name"] for category in content["categories"]}
    return Counter(name_of[annotation["category_id"]] for annotation in content["annotations"])


def test_the_default_is_drawn_as_it_was_before_there_were_tails(tmp_path: Path):
    """Every box comes after random numbers of paint and place: one number more or less would move them all."""
    draw_dataset(tmp_path / "s", train=12, val=4, seed=3, hw=HW)
    digests = {
        name: hashlib.sha256((tmp_path / "s" / name).read_bytes()).hexdigest()[:16]
        for name in ("train.json", "val.json", STAMP)
    }
    assert digests == {"train.json": "546110a28d4701a5", "val.json": "c2baaeedf1dad97d", STAMP: "15da5f82e1718d5b"}


def test_frequencies_fall_by_one_factor_a_class_from_1_to_the_ratio():
    shares = tail_shares(24, 100)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] / shares[-1] == pytest.approx(100)
    assert shares[:-1] / shares[1:] == pytest.approx(np.full(23, 100 ** (1 / 23)))
    assert tail_shares(24, 1) == pytest.approx(np.full(24, 1 / 24))


def test_labels_are_drawn_with_these_shares():
    catalogue = long_tail(50)
    rng = np.random.default_rng(0)
    count = 20_000
    found = np.bincount([catalogue.draw_label(rng) for _ in range(count)], minlength=24)
    expected = np.array(catalogue.shares) * count
    assert (np.abs(found - expected) < 4 * np.sqrt(expected)).all()
    assert found[0] > 30 * found[-1] > 0


def test_every_shape_has_every_colour_once_and_the_frequent_classes_show_all_of_both():
    catalogue = long_tail(10)
    assert sorted(catalogue.classes) == sorted(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
    assert [SHAPES[shape] for shape in catalogue.shapes] == [name.split()[1] for name in catalogue.classes]
    assert [COLOURS[name.split()[0]] for name in catalogue.classes] == list(catalogue.hues)
    head = [name.split() for name in catalogue.classes[:6]]
    assert {shape for _, shape in head} == set(SHAPES)
    assert {colour for colour, _ in head} == set(COLOURS)
    ids = catalogue.category_ids
    assert len(set(ids)) == 24
    assert list(ids) == sorted(ids)
    assert ids[-1] - ids[0] > 23  # with gaps


def test_an_object_has_the_colour_that_its_class_names():
    catalogue = long_tail(1)
    right, told = [], []
    for index in range(60):
        drawing = draw_image(2, index, HW, catalogue)
        for position, drawn in enumerate(drawing.objects):
            mean = drawing.image[drawing.owner == position].mean(axis=0).astype(np.uint8)
            hue, saturation, _ = cv2.cvtColor(mean[None, None], cv2.COLOR_BGR2HSV)[0, 0].astype(int)
            if saturation < 40:
                continue  # the border line and the texture left hardly any
            middles = {name: (low + high) / 2 for name, (low, high) in COLOURS.items()}
            nearest = min(middles, key=lambda name: abs((hue - middles[name] + 90) % 180 - 90))
            told.append(catalogue.classes[drawn.label])
            right.append(nearest == told[-1].split()[0])
    assert len(right) > 150
    assert np.mean(right) > 0.95


def test_training_falls_and_validation_is_the_same_whatever_the_ratio(tmp_path: Path):
    draw_dataset(tmp_path / "a", train=50, val=24, seed=1, hw=HW, tail=100)
    draw_dataset(tmp_path / "b", train=50, val=24, seed=1, hw=HW, tail=5)
    order = long_tail(100).classes
    for name, steepest in (("a", True), ("b", False)):
        found = names(tmp_path / name, "train")
        head, tail = (sum(found[c] for c in part) for part in (order[:6], order[-12:]))
        assert (head > 5 * tail) == steepest
        assert head > tail
    assert (tmp_path / "a" / "val.json").read_bytes() == (tmp_path / "b" / "val.json").read_bytes()
    index = FIRST_VAL_INDEX + 3
    pictures = [(tmp_path / name / "val" / f"{index:07d}.jpg").read_bytes() for name in "ab"]
    assert pictures[0] == pictures[1]
    found = names(tmp_path / "a", "val")
    assert sum(found[c] for c in order[:12]) < 2 * sum(found[c] for c in order[12:])


def test_the_same_arguments_draw_the_same_files_and_a_drawing_is_recognised(tmp_path: Path):
    for name in "ab":
        assert draw_dataset(tmp_path / name, train=4, val=2, seed=1, hw=HW, tail=20)
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in "ab"
    ]
    assert files[0] == files[1]
    assert not draw_dataset(tmp_path / "a", train=4, val=2, seed=1, hw=HW, tail=20)


@pytest.mark.parametrize(("first", "second"), [(20, None), (None, 20), (20, 30)])
def test_another_tail_is_another_drawing(tmp_path: Path, first: float | None, second: float | None):
    draw_dataset(tmp_path, train=2, val=1, seed=1, hw=HW, tail=first)
    with pytest.raises(UserError, match=r"long_tail \S+ instead of \S+\)") as raised:
        draw_dataset(tmp_path, train=2, val=1, seed=1, hw=HW, tail=second)
    assert ("long_tail none" in str(raised.value)) == (first is None)


@pytest.mark.parametrize("ratio", [0.5, -3, float("nan"), float("inf")])
def test_an_impossible_ratio_is_refused_before_anything_is_written(tmp_path: Path, ratio: float):
    with pytest.raises(ValueError, match="tail"):
        draw_dataset(tmp_path / "new", train=2, val=1, tail=ratio)
    assert not (tmp_path / "new").exists()
