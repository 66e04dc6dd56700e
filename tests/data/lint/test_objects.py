"""Images without objects, and crowd regions: a note where that is usual, an error where nothing is left."""

import pytest

from nanogfl.data.lint.objects import check_objects

PLAIN = [[(0, 10, 10, 30, 40)], [(1, 50, 20, 70, 50)]]
CROWD = (0, 10, 10, 30, 40, "crowd")


def test_images_without_objects_are_counted_and_a_majority_of_them_is_a_warning(split, by_key):
    full, empty = [(0, 10, 10, 30, 40)], [(0, 10, 10, 30, 40, "crowd")]
    findings = by_key(check_objects((split("train", [full, full, []]), split("val", [full, empty])), 0.05))
    assert (findings["empty-images"].severity, findings["empty-images"].count) == ("note", 2)
    assert (findings["crowd-regions"].severity, findings["crowd-regions"].count) == ("note", 1)
    findings = by_key(check_objects((split("train", [full, full]), split("val", [full, [], []])), 0.05))
    assert list(findings) == ["empty-images"]
    assert findings["empty-images"].severity == "warning"


@pytest.mark.parametrize(("full", "least", "severity"), [(1, 0.3, "error"), (1, 0.25, "warning"), (0, 0.0, "error")])
def test_fewer_labelled_images_than_a_training_takes_are_an_error(split, by_key, full, least, severity):
    images = [[(0, 10, 10, 30, 40)]] * full + [[]] * (4 - full)
    finding = by_key(check_objects((split("train", images), split("val", PLAIN)), least))["empty-images"]
    assert finding.severity == severity
    assert ("min_labelled" in finding.advice) == (severity == "error")


@pytest.mark.parametrize("images", [[[], []], [[CROWD], []], [[CROWD], [CROWD]]])
def test_a_val_set_without_objects_is_an_error_whatever_it_has_instead(split, by_key, images):
    findings = by_key(check_objects((split("train", PLAIN), split("val", images)), 0.05))
    assert (findings["val-without-objects"].severity, findings["val-without-objects"].count) == ("error", 2)
    assert "AP" in findings["val-without-objects"].advice
    assert "empty-images" not in findings


def test_a_class_of_crowds_is_a_warning_with_its_count_and_a_few_crowds_are_none(split, by_key):
    train = split("train", [[CROWD, CROWD, (0, 50, 20, 70, 50)], [(1, 1, 1, 20, 20)], [(1, 5, 5, 9, 9, "crowd")]])
    findings = by_key(check_objects((train, split("val", PLAIN)), 0.05))
    assert (findings["mostly-crowds"].severity, findings["mostly-crowds"].count) == ("warning", 1)
    assert "'cat': 2 of 3 boxes" in findings["mostly-crowds"].examples[0].text
    assert (findings["crowd-regions"].severity, findings["crowd-regions"].count) == ("note", 3)


def test_a_training_set_of_crowds_alone_says_that_they_are_ignored(split, by_key):
    findings = by_key(check_objects((split("train", [[CROWD], [CROWD, CROWD]]), split("val", PLAIN)), 0.05))
    assert findings["empty-images"].severity == "error"
    assert "3 boxes are crowd regions" in findings["empty-images"].advice
