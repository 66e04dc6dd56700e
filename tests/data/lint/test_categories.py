"""Classes: what is found in their names and ids, and what is no finding."""

import pytest

from nanogfl.data.lint.categories import check_categories

EACH = [[(0, 1, 1, 9, 9), (1, 20, 20, 40, 40)]]  # a box of either class


@pytest.fixture
def found(by_key):
    return lambda train, val: by_key(check_categories(train, val))


def names_with(split, classes, boxes):
    """A split with this many boxes of each class, one an image."""
    return split("train", [[(label, 1, 1, 9, 9)] for label, count in enumerate(boxes) for _ in range(count)], classes)


def test_dense_used_and_distinct_classes_are_no_finding(split, found):
    assert found(split("train", EACH), split("val", EACH)) == {}


@pytest.mark.parametrize("ids", [(0, 1), (1, 3), (2, 3)])
def test_gaps_in_the_ids_are_a_note(split, found, ids):
    findings = found(split("train", EACH, ids=ids), split("val", EACH, ids=ids))
    assert list(findings) == ["category-gaps"]
    assert findings["category-gaps"].severity == "note"
    assert f"{ids[0]} to {ids[1]}" in str(findings["category-gaps"].examples[0])


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


def test_a_name_that_val_lacks_is_an_error_and_other_ids_of_equal_names_a_warning(split, found):
    findings = found(split("train", EACH), split("val", EACH, ("cat", "bird")))
    assert findings["classes-differ"].severity == "error"
    assert "'dog' in train, is not there" in findings["classes-differ"].examples[0].text
    findings = found(split("train", EACH), split("val", [[(0, 1, 1, 9, 9)]], ("cat",)))
    assert "'dog' in train, is not there" in findings["classes-differ"].examples[0].text
    findings = found(split("train", EACH), split("val", EACH, ("dog", "cat")))
    assert findings["class-ids-differ"].severity == "warning"  # training matches them by name
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
    ("one", "other"),
    [
        ("Platelet", "platelet"),
        ("platelet", "Platelets"),
        ("box", "boxes"),
        ("berry", "berries"),
        ("traffic light", "traffic_light"),
        ("T-shirt", "tshirt"),
        ("same", "same"),
    ],
)
def test_names_equal_but_for_case_spaces_and_plural_are_found_however_many_boxes(split, found, one, other):
    train = names_with(split, (one, other, "elephant"), (5, 5, 5))
    finding = found(train, train)["misspelt-classes"]
    assert (finding.severity, finding.count) == ("warning", 1)
    assert f"'{one}'" in finding.examples[0].text
    assert f"'{other}'" in finding.examples[0].text


@pytest.mark.parametrize("typo", ["plateelt", "platelt", "plattelet", "platelat", "plateet", "plateletx"])
def test_a_rare_class_one_letter_apart_is_a_typing_error(split, found, typo):
    train = names_with(split, ("platelet", typo), (20, 2))
    text = found(train, train)["misspelt-classes"].examples[0].text
    assert text == f"'{typo}' (2 boxes) is nearly 'platelet' (20 boxes)"


@pytest.mark.parametrize(
    ("classes", "boxes"),
    [
        (("platelet", "platelat"), (20, 3)),  # too frequent for a typing error
        (("boat", "goat"), (20, 1)),  # short
        (("parrot", "carrot"), (20, 1)),  # nobody mistypes the first letter
        (("platelet", "platelat"), (20, 0)),  # no box competes
        (("defect 1", "defect 2"), (20, 1)),
        (("defect 1", "defect 11"), (20, 1)),
        (("mouse pad", "horse pad"), (20, 1)),  # two letters
        (("glass", "grass"), (20, 20)),
        (("s", "es"), (3, 3)),
    ],
)
def test_different_words_are_not_misspelt(split, found, classes, boxes):
    train = names_with(split, classes, boxes)
    assert "misspelt-classes" not in found(train, train)


def test_a_misspelling_in_val_is_found_beside_trains_names(split, found):
    val = split("val", EACH, ("cat", "Dogs"))
    finding = found(split("train", EACH), val)["misspelt-classes"]
    assert str(finding.examples[0]) == "val: 'Dogs' (1 boxes) is nearly 'dog' (1 boxes in train)"
