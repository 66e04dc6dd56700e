"""Boxes as annotated: listed by the reader, drawn twice, crowds, images without objects, sizes at the input."""

import numpy as np
import pytest

from nanogfl.config import Config
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.lint.annotations import (
    SAME_IOU,
    check_boxes,
    check_crowds,
    check_empty,
    check_problems,
    check_sizes,
    same_boxes,
)
from nanogfl.data.lint.effect import by_effect
from nanogfl.data.lint.finding import Example, Split
from nanogfl.data.lint.kinds import KINDS
from nanogfl.data.lint.run import check_annotations
from nanogfl.data.readers.read import load_split as load_coco

PLAIN = [[(0, 10, 10, 30, 40), (1, 12, 10, 50, 40)], [(0, 10, 10, 30, 40)]]


def test_separate_boxes_and_equal_ones_in_two_images_are_no_finding(split):
    splits = split("train", PLAIN), split("val", PLAIN)
    assert check_boxes(splits) == check_problems(splits) == []


def test_a_box_drawn_twice_is_found_and_a_third_counts_again(split, by_key):
    images = [[(0, 10, 10, 50, 50), (1, 60, 10, 90, 50), (0, 10, 10, 50, 50.5), (0, 10, 10.2, 50, 50)]]
    findings = by_key(check_boxes((split("train", PLAIN), split("val", images))))
    assert list(findings) == ["duplicate-boxes"]
    finding = findings["duplicate-boxes"]
    assert (finding.severity, finding.count) == ("warning", 2)
    assert [example.rows for example in finding.examples] == [(2,), (3,)]
    assert str(finding.examples[0]).startswith("val: 0.jpg, cat at 10 10 50 50")


@pytest.mark.parametrize(("width", "count"), [(96, 1), (94, 0)])
def test_boxes_are_the_same_above_an_iou_of_95_hundredths(split, width, count):
    images = [[(0, 0, 0, 100, 50), (0, 0, 0, width, 50)]]
    assert sum(finding.count for finding in check_boxes((split("train", images),))) == count


def test_one_box_with_two_classes_is_found_with_both(split, by_key):
    findings = by_key(check_boxes((split("train", [PLAIN[1], [(0, 10, 10, 50, 50), (1, 10, 10, 50, 50)]]),)))
    assert list(findings) == ["contrary-boxes"]
    (example,) = findings["contrary-boxes"].examples
    assert example.rows == (0, 1)
    assert example.text == "1.jpg, cat at 10 10 50 50 and dog at 10 10 50 50"


def test_crowd_regions_are_never_a_second_box(split):
    images = [[(0, 10, 10, 50, 50), (0, 10, 10, 50, 50, "crowd"), (1, 10, 10, 50, 50, "crowd")]]
    assert check_boxes((split("train", images),)) == []


def test_same_boxes_are_those_that_every_pair_compared_gives(split):
    random = np.random.default_rng(0)
    images = []
    for _ in range(40):
        corner, size = random.integers(0, 4, (12, 2)) * 10.0, random.integers(2, 4, (12, 2)) * 10.0
        corner += random.uniform(0, 0.6, corner.shape)
        boxes = np.concatenate([corner, corner + size], axis=1)
        crowd = random.random(12) < 0.1
        images.append([(0, *box, "crowd") if c else (0, *box) for box, c in zip(boxes, crowd, strict=True)])
    images.insert(3, [])
    train = split("train", images)
    expected, start = [], 0
    for image in train.dataset.images:
        for i in range(len(image.boxes)):
            for j in range(i + 1, len(image.boxes)):
                a, b = (image.boxes[k].astype(float) for k in (i, j))
                w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                shared = max(w, 0) * max(h, 0)
                union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
                if shared > SAME_IOU * union and not image.crowd[[i, j]].any():
                    expected.append([start + i, start + j])
        start += len(image.boxes)
    assert len(expected) > 20
    assert same_boxes(train).tolist() == expected


def test_what_the_reader_left_out_becomes_findings_with_their_image(write_coco, by_key):
    boxes = [[1, 1, 0, 5], [1, 1, 5, -2], [200, 10, 5, 5], [90, 10, 30, 5], [1, 2, 3], [1, 1, 20, 20]]
    annotations = [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes]
    path, folder = write_coco(annotations)
    (folder / "2.png").unlink()
    findings = by_key(check_problems((Split("train", load_coco(path, folder)),)))
    assert {(f.key, f.severity, f.count) for f in findings.values()} == {
        ("empty-boxes", "warning", 2),
        ("boxes-outside", "warning", 1),
        ("clipped-boxes", "note", 1),
        ("bad-boxes", "warning", 1),
        ("missing-images", "error", 1),
    }
    assert findings["empty-boxes"].examples[0].text == "1.png, annotation 1: width 0, height 5"
    assert findings["empty-boxes"].examples[0].image.path == folder / "1.png"
    assert findings["missing-images"].examples[0].image is None


def test_problems_of_one_format_are_warnings_with_their_own_advice(split, by_key):
    problems = [("a.xml", "no class: <name> is missing or empty"), ("b.xml", "no class: <name>"), ("c", "odd: very")]
    findings = by_key(check_problems((split("train", PLAIN, problems=problems),)))
    assert {key: (f.severity, f.count) for key, f in findings.items()} == {
        "no-class": ("warning", 2),
        "odd": ("warning", 1),
    }
    assert findings["no-class"].examples[0].text == "a.xml: <name> is missing or empty"
    assert "<name>" in findings["no-class"].advice


# Objects and crowds ------------------------------------------------------------

OBJECTS = [[(0, 10, 10, 30, 40)], [(1, 50, 20, 70, 50)]]
CROWD = (0, 10, 10, 30, 40, "crowd")


def check_objects(splits, least):
    return [*check_crowds(splits), *check_empty(splits, least)]


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
    finding = by_key(check_objects((split("train", images), split("val", OBJECTS)), least))["empty-images"]
    assert finding.severity == severity
    assert ("min_labelled" in finding.advice) == (severity == "error")


@pytest.mark.parametrize("images", [[[], []], [[CROWD], []], [[CROWD], [CROWD]]])
def test_a_val_set_without_objects_is_an_error_whatever_it_has_instead(split, by_key, images):
    findings = by_key(check_objects((split("train", OBJECTS), split("val", images)), 0.05))
    assert (findings["val-without-objects"].severity, findings["val-without-objects"].count) == ("error", 2)
    assert "AP" in findings["val-without-objects"].advice
    assert "empty-images" not in findings


def test_a_class_of_crowds_is_a_warning_with_its_count_and_a_few_crowds_are_none(split, by_key):
    train = split("train", [[CROWD, CROWD, (0, 50, 20, 70, 50)], [(1, 1, 1, 20, 20)], [(1, 5, 5, 9, 9, "crowd")]])
    findings = by_key(check_objects((train, split("val", OBJECTS)), 0.05))
    assert (findings["mostly-crowds"].severity, findings["mostly-crowds"].count) == ("warning", 1)
    assert "'cat': 2 of 3 boxes" in findings["mostly-crowds"].examples[0].text
    assert (findings["crowd-regions"].severity, findings["crowd-regions"].count) == ("note", 3)


def test_a_training_set_of_crowds_alone_says_that_they_are_ignored(split, by_key):
    findings = by_key(check_objects((split("train", [[CROWD], [CROWD, CROWD]]), split("val", OBJECTS)), 0.05))
    assert findings["empty-images"].severity == "error"
    assert "3 boxes are crowd regions" in findings["empty-images"].advice


# Sizes ------------------------------------------------------------

STRETCH, LETTERBOX = InputSpec((160, 320)), InputSpec((160, 320), "letterbox")


def test_sides_are_scaled_as_the_recipe_resizes(split):
    images = [[(0, 10, 10, 30, 40), (1, 0, 0, 50, 50, "crowd")], [], [(1, 0, 0, 60, 6)]]
    index = split("train", images, hw=(40, 160)).index
    assert index.object_sides(STRETCH).tolist() == [[40, 120], [120, 24]]  # x 2, y 4
    assert index.object_sides(LETTERBOX).tolist() == [[40, 60], [120, 12]]  # both 2


def test_large_objects_are_no_finding_and_a_set_without_any_neither(split):
    assert check_sizes(split("train", [[(0, 0, 0, 50, 50)]]), STRETCH, 8.0) == []
    assert check_sizes(split("train", [[(0, 0, 0, 1, 1, "crowd")], []]), STRETCH, 8.0) == []


def test_many_objects_narrower_than_the_finest_stride_are_a_warning_and_a_tenth_of_them_none(split, by_key):
    images = [[(0, 0, 0, 80, 80)] * 53 + [(1, 0, 0, 3.9, 80)] * 7]  # 7.8 x 80 px: narrow, not tiny
    finding = by_key(check_sizes(split("train", images, hw=(160, 160)), STRETCH, 8.0))["small-objects"]
    assert (finding.severity, finding.count) == ("warning", 7)
    assert "7.8 x 80.0 px" in finding.examples[0].text
    assert "12% are narrower" in finding.advice
    assert check_sizes(split("train", images, hw=(160, 160)), STRETCH, 7.8) == []
    tenth = [[(0, 0, 0, 80, 80)] * 54 + [(1, 0, 0, 3.9, 80)] * 6]
    assert check_sizes(split("train", tenth, hw=(160, 160)), STRETCH, 8.0) == []


def test_small_objects_get_the_input_that_is_enough_for_half_of_them(split, by_key):
    small, large = (0, 0, 0, 40, 40), (0, 0, 0, 200, 200)

    def advice(objects, hw):
        return by_key(check_sizes(split("train", [objects], hw=hw), STRETCH, 4.0))["small-objects"].advice

    train = split("train", [[small, small, large]], hw=(320, 640))  # half: 20 x 20 px, 24 are enough
    finding = by_key(check_sizes(train, STRETCH, 4.0))["small-objects"]
    assert (finding.severity, finding.count) == ("warning", 2)
    assert "[192, 384] (1.4 times" in finding.advice
    assert "parts" not in finding.advice
    far = advice([small, small, large], (1600, 3200))  # a tenth: 4 x 4 px, more than an input should grow for
    assert "[256, 512] (2.6 times" in far
    assert "cut large images into parts" in far
    assert check_sizes(split("train", [[small, large, large]], hw=(320, 640)), STRETCH, 4.0) == []
    # the images hold no more pixels
    assert check_sizes(split("train", [[(0, 0, 0, 8, 8)]], hw=(160, 320)), STRETCH, 4.0) == []
    assert (
        "no more pixels"
        in by_key(check_sizes(split("train", [[(0, 0, 0, 3, 80)]], hw=(160, 320)), STRETCH, 4.0))[
            "small-objects"
        ].advice
    )


# Severity by effect -------------------------------------------------------------------------------


@pytest.mark.parametrize(("boxes", "severity"), [(97, "warning"), (98, "note")])
def test_a_box_in_more_than_a_hundred_drawn_twice_is_a_note(split, by_key, boxes, severity):
    images = [[(0, 0, 0, 50, 50)]] * boxes + [[(0, 0, 0, 50, 50)] * 2]
    train, val = split("train", images), split("val", [[(1, 0, 0, 50, 50)]])
    found = by_key(check_annotations(train, val, Config(), finest_stride=8.0))
    assert found["duplicate-boxes"].severity == severity


def test_a_val_image_in_more_than_fifty_that_looks_like_a_train_image_is_a_note(split):
    train, near = (
        split("train", [[(0, 0, 0, 50, 50)]]),
        KINDS["near-duplicates"].found([Example("val", "a is nearly b")]),
    )
    for images, severity in ((50, "warning"), (51, "note")):
        val = split("val", [[(0, 0, 0, 50, 50)]] * images)
        assert [finding.severity for finding in by_effect(near, train, val)] == [severity]
    error = KINDS["val-in-train"].found([Example("val", "a is b")])
    assert by_effect(error, train, split("val", [[]] * 1000)) == error
