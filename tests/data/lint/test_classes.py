"""Classes: what is found in their names, ids and frequencies, and what is no finding."""

from dataclasses import replace

import numpy as np
import pytest

from nanogfl.config import Config, DataConfig, LossConfig
from nanogfl.data.lint.classes import check_classes, check_tail
from nanogfl.data.order import EpochOrder

EACH = [[(0, 1, 1, 9, 9), (1, 20, 20, 40, 40)]]  # a box of either class


@pytest.fixture
def found(by_key):
    return lambda train, val: by_key(check_classes(train, val))


def test_dense_used_and_distinct_classes_are_no_finding(split, found):
    assert found(split("train", EACH), split("val", EACH)) == {}


@pytest.mark.parametrize("ids", [(0, 1), (1, 3), (2, 3)])
def test_gaps_in_the_ids_are_no_finding(split, found, ids):
    assert found(split("train", EACH, ids=ids), split("val", EACH, ids=ids)) == {}


def test_a_class_without_a_box_in_train_is_a_warning_and_one_absent_in_val_a_note(split, found):
    only_cats, only_dogs = [[(0, 1, 1, 9, 9)]], [[(1, 1, 1, 9, 9), (0, 1, 1, 50, 50, "crowd")]]
    findings = found(split("train", only_cats), split("val", only_dogs))
    assert [(f.key, f.severity, f.count) for f in findings.values()] == [
        ("unused-classes", "warning", 1),
        ("classes-not-in-val", "note", 1),  # a crowd region is no object
    ]
    assert "'dog'" in findings["unused-classes"].examples[0].text
    assert "'cat' (1 boxes in train)" in findings["classes-not-in-val"].examples[0].text


def test_a_class_that_neither_has_is_reported_once(split, found):
    one = [[(0, 1, 1, 9, 9)]]
    assert list(found(split("train", one), split("val", one))) == ["unused-classes"]


def test_a_name_that_val_lacks_is_an_error_and_other_ids_of_equal_names_a_note(split, found):
    findings = found(split("train", EACH), split("val", EACH, ("cat", "bird")))
    assert findings["classes-differ"].severity == "error"
    assert "'dog' in train, is not there" in findings["classes-differ"].examples[0].text
    findings = found(split("train", EACH), split("val", [[(0, 1, 1, 9, 9)]], ("cat",)))
    assert "'dog' in train, is not there" in findings["classes-differ"].examples[0].text
    findings = found(split("train", EACH), split("val", EACH, ("dog", "cat")))
    assert findings["class-ids-differ"].severity == "note"  # training matches them by name
    assert [example.text for example in findings["class-ids-differ"].examples] == [
        "'cat' is category 2, in train it is 1",
        "'dog' is category 1, in train it is 2",
    ]


@pytest.mark.parametrize(("label", "severity"), [(2, "warning"), (0, "note")])
def test_classes_only_in_val_matter_where_they_have_boxes(split, found, label, severity):
    val = split("val", [*EACH, [(label, 1, 1, 9, 9)]], ("cat", "dog", "zebra"))
    findings = found(split("train", EACH), val)
    assert list(findings) == ["classes-only-in-val"]
    assert findings["classes-only-in-val"].severity == severity
    assert f"'zebra', has {int(label == 2)} boxes" in findings["classes-only-in-val"].examples[0].text


@pytest.mark.parametrize(
    ("one", "other"), [("Platelet", "platelet"), ("traffic light", "traffic_light"), ("T-shirt", "tshirt"), ("a", "a")]
)
def test_names_equal_but_for_case_and_spaces_are_found_however_many_boxes(split, found, one, other):
    boxes = [[(label, 1, 1, 9, 9)] for label in (0, 1, 2)]
    train = split("train", boxes, (one, other, "elephant"))
    finding = found(train, train)["misspelt-classes"]
    assert (finding.severity, finding.count) == ("warning", 1)
    assert f"'{one}'" in finding.examples[0].text
    assert f"'{other}'" in finding.examples[0].text


def test_a_misspelling_in_val_is_found_beside_trains_names(split, found):
    finding = found(split("train", EACH), split("val", EACH, ("cat", "DOG")))["misspelt-classes"]
    assert str(finding.examples[0]) == "val: 'DOG' (1 boxes) and 'dog' (1 boxes)"
    assert "misspelt-classes" not in found(split("train", EACH), split("val", EACH, ("cat", "dogs")))


# The tail -------------------------------------------------------------------------------------------------------


def tailed(split, counts):
    """Images that hold a class each, `counts` of every class."""
    images = [[(label, 0, 0, 50, 50)] for label, count in enumerate(counts) for _ in range(count)]
    return split("train", images, tuple(f"class {letter}" for letter in "abcdefgh"[: len(counts)]))


@pytest.mark.parametrize(
    "counts",
    [
        (300, 11),  # nothing is rare
        (190, 10),  # 1 : 19
        (5, 3),
        (300, 0),  # an unused class is another finding
        (300,),
    ],
)
def test_classes_that_are_not_far_apart_or_not_rare_are_no_tail(split, counts):
    assert check_tail(tailed(split, counts), Config()) == []


def test_a_long_tail_names_the_rarest_first_and_what_repeating_would_do(split, by_key):
    train = tailed(split, (200, 40, 10, 2, 0))
    finding = by_key(check_tail(train, Config()))["long-tail"]
    assert (finding.severity, finding.count) == ("warning", 2)
    assert finding.what.endswith("(1 : 100)")
    assert [example.text for example in finding.examples] == [
        "'class d' in 2 of 252 images",
        "'class c' in 10 of 252 images",
    ]
    order = EpochOrder(train.dataset, seed=0, repeat_threshold=0.05)  # the median's share, .099, is above the most
    assert f"data.repeat_threshold=0.05 shows the rarest {np.sqrt(0.05 * 252 / 2):.1f} times" in finding.advice
    assert f"({order.length} instead of 252 images)" in finding.advice
    assert "eqfl" in finding.advice


def test_a_recipe_that_repeats_rare_classes_has_nothing_to_do(split, by_key):
    config = Config(data=DataConfig(repeat_threshold=0.01))
    finding = by_key(check_tail(tailed(split, (200, 2)), config))["long-tail"]
    assert finding.severity == "note"
    assert "0.01" in finding.advice
    equalized = replace(Config(), loss=LossConfig(classification="eqfl"))
    assert "eqfl" not in check_tail(tailed(split, (200, 2)), equalized)[0].advice
