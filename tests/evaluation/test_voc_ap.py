"""VOC's AP50 against a loop that follows the development kit's steps, and against cases that are known by hand."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nanogfl.contract.detections import Detections
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.evaluation.coco_ap import format_report, score
from nanogfl.evaluation.voc_ap import voc_report

CLASSES = ("cat", "dog", "car")


def image(number: int, boxes, labels, difficult) -> ImageRecord:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return ImageRecord(
        number, Path(f"{number}.jpg"), (64, 64), boxes, np.array(labels, np.int64), areas, np.array(difficult, np.bool_)
    )


def found(boxes, scores, labels) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )


def by_hand(images, answers, label):
    """(area, 11 points) as fractions of one class, one detection at a time; None without objects."""
    objects = sum(int(np.sum((i.labels == label) & ~i.crowd)) for i in images)
    if not objects:
        return None
    claims = [
        (-float(score), number, row)
        for number, answer in enumerate(answers)
        for row, (score, of) in enumerate(zip(answer.scores, answer.labels, strict=True))
        if of == label
    ]
    taken, right, wrong, points = set(), 0, 0, []
    for _, number, row in sorted(claims):
        rows = [r for r in range(len(images[number].labels)) if images[number].labels[r] == label]
        ious = [exact_iou(answers[number].boxes[row], images[number].boxes[r]) for r in rows]
        best = max(range(len(rows)), key=lambda k: ious[k], default=None)
        if best is None or ious[best] < Fraction(1, 2):
            wrong += 1
        elif images[number].crowd[rows[best]]:
            continue
        elif (number, rows[best]) in taken:
            wrong += 1
        else:
            taken.add((number, rows[best]))
            right += 1
        points.append((Fraction(right, objects), Fraction(right, right + wrong)))
    eleven = sum(max((p for r, p in points if r >= Fraction(k, 10)), default=0) for k in range(11)) / Fraction(11)
    area, before = Fraction(0), Fraction(0)
    for recall in sorted({r for r, _ in points}):
        area += (recall - before) * max(p for r, p in points if r >= recall)
        before = recall
    return float(area), float(eleven)


def exact_iou(a, b) -> Fraction:
    a, b = ([Fraction(float(x)) for x in box] for box in (a, b))
    width = max(Fraction(0), min(a[2], b[2]) - max(a[0], b[0]))
    height = max(Fraction(0), min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def random_case(seed: int):
    draw = np.random.default_rng(seed)
    images, answers = [], []
    for number in range(draw.integers(1, 7)):
        count = int(draw.integers(0, 6))
        corner = draw.integers(0, 30, (count, 2))
        boxes = np.concatenate([corner, corner + draw.integers(2, 20, (count, 2))], axis=1)
        labels = draw.integers(0, len(CLASSES), count)
        images.append(image(number, boxes, labels, draw.random(count) < 0.3))
        near = np.repeat(boxes, 3, axis=0) + draw.integers(-3, 4, (3 * count, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        keep = draw.random(len(near)) < 0.7
        # few values: scores tie within an image and between images
        scores = draw.integers(1, 8, len(near)) / 8
        answers.append(found(near[keep], scores[keep], np.repeat(labels, 3)[keep]))
    return images, answers


@pytest.mark.parametrize("seed", range(40))
def test_random_cases_equal_the_loop(seed):
    images, answers = random_case(seed)
    report = voc_report(DataSet("t", CLASSES, (1, 2, 3), tuple(images), ()), answers)
    wanted = [by_hand(images, answers, label) for label in range(len(CLASSES))]
    for entry, expected in zip(report.classes, wanted, strict=True):
        if expected is None:
            assert (entry.ap50_area, entry.ap50_11_points) == (None, None)
        else:
            assert (entry.ap50_area, entry.ap50_11_points) == pytest.approx(expected, abs=1e-12)
    known = [pair for pair in wanted if pair is not None]
    if known:
        assert (report.ap50_area, report.ap50_11_points) == pytest.approx(tuple(np.mean(known, axis=0)), abs=1e-12)


A, B = [0, 0, 20, 20], [40, 40, 60, 60]


def test_difficult_objects_are_passed_over_and_duplicates_are_wrong():
    data = DataSet("t", ("cat",), (1,), (image(1, [A, B], [0, 0], [False, True]),), ())
    alone = voc_report(data, [found([A, B], [0.9, 0.95], [0, 0])])
    assert (alone.ap50_area, alone.ap50_11_points) == (1, 1)
    twice = voc_report(data, [found([A, A], [0.8, 0.9], [0, 0])])
    assert twice.ap50_area == 1  # the second comes after full recall
    missed = voc_report(data, [found([[30, 0, 39, 9], A], [0.9, 0.5], [0, 0])])
    assert missed.ap50_area == pytest.approx(0.5)


def test_no_objects_and_no_detections():
    empty = DataSet("t", ("cat", "dog"), (1, 2), (image(1, [A], [0], [False]),), ())
    report = voc_report(empty, [found([], [], [])])
    assert (report.ap50_area, report.classes[1].ap50_area) == (0, None)
    none = voc_report(DataSet("t", ("cat",), (1,), (image(1, [], [], []),), ()), [found([A], [0.5], [0])])
    assert none.ap50_area is None


def test_voc_is_shown_and_written_only_when_asked_for():
    data = DataSet("t", ("cat",), (1,), (image(1, [A], [0], [False]),), ())
    plain = score(data, [found([A], [0.9], [0])])
    assert "voc" not in plain.to_dict()
    assert "VOC" not in format_report(plain)
