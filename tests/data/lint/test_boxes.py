"""Boxes as annotated: listed by the reader, drawn twice, crowds, images without objects."""

import numpy as np
import pytest

from nanogfl.data.lint.boxes import SAME_IOU, check_boxes, check_problems, same_boxes
from nanogfl.data.lint.finding import Split
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


def test_a_kind_of_problem_that_only_another_reader_knows_is_a_warning(split, by_key):
    problems = [("a.xml", "no <size>: taken from the file"), ("b.xml", "no <size>: taken from the file")]
    findings = by_key(check_problems((split("train", PLAIN, problems=problems),)))
    assert list(findings) == ["no-size"]
    assert (findings["no-size"].severity, findings["no-size"].count) == ("warning", 2)
    assert findings["no-size"].examples[0].text == "a.xml: taken from the file"
