"""The precision table against COCOeval fed in the usual way: a record for each object and each detection."""

import contextlib
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nanogfl.contract.detections import Detections
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.evaluation.precision import precision_table
from tests.thinned import thinned


def plain_table(dataset, detections, most):
    """The same from pycocotools alone."""

    def coco(annotations):
        made = COCO()
        made.dataset = {
            "images": [{"id": image.id} for image in dataset.images],
            "categories": [{"id": number} for number in dataset.category_ids],
            "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)],
        }
        made.createIndex()
        return made

    def entry(image, label, box):
        x1, y1, x2, y2 = map(float, box)
        bbox = [x1, y1, x2 - x1, y2 - y1]
        return {"image_id": image.id, "category_id": dataset.category_ids[label], "bbox": bbox, "iscrowd": 0}

    truth = [
        {**entry(image, label, box), "area": float(area), "iscrowd": int(crowd)}
        for image in dataset.images
        for box, label, area, crowd in zip(image.boxes, image.labels, image.areas, image.crowd, strict=True)
    ]
    found = [
        {**made, "area": made["bbox"][2] * made["bbox"][3], "score": float(score)}
        for image, some in zip(dataset.images, detections, strict=True)
        for box, label, score in zip(some.boxes, some.labels, some.scores, strict=True)
        for made in [entry(image, label, box)]
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco(truth), coco(found), "bbox")
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        evaluation.accumulate()
    rising = sorted(dataset.category_ids)
    table = evaluation.eval["precision"][..., 0]
    return table[:, :, [rising.index(number) for number in dataset.category_ids]]


def random_case(seed, images=12, classes=4, objects=9, found=40):
    """Sizes on both sides of COCO's areas and exactly on them, crowds, equal scores, images without either."""
    numbers = np.random.default_rng(seed)
    records, answers = [], []
    for number in numbers.permutation(100)[:images].tolist():  # the ids do not rise
        count = int(numbers.integers(0, objects)) * bool(numbers.random() < 0.8)
        corner = numbers.uniform(0, 200, (count, 2))
        sides = numbers.choice([4.0, 20, 32, 33, 64, 96, 97, 200], (count, 2))
        boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
        labels = numbers.integers(0, classes - 1, count)  # the last class has no object
        areas = np.where(numbers.random(count) < 0.3, numbers.choice([1.0, 1024, 9216, 1e5], count), sides.prod(axis=1))
        crowd = numbers.random(count) < 0.15
        records.append(ImageRecord(number, Path("x"), (400, 400), boxes, labels, areas.astype(np.float32), crowd))
        amount = int(numbers.integers(0, found)) * bool(numbers.random() < 0.85)
        source = numbers.integers(0, max(count, 1), amount)
        near = boxes[source] if count else np.tile(np.float32([5, 5, 50, 60]), (amount, 1))
        near = near + numbers.choice([0.0, 1, 3, 8], (amount, 1)) * numbers.normal(0, 1, (amount, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2])  # some are empty
        guessed = np.where(numbers.random(amount) < 0.7, labels[source] if count else 0, numbers.integers(0, classes))
        scores = numbers.choice([0.2, 0.5, 0.5, 0.9, 1.0], amount).astype(np.float32)
        answers.append(Detections(near.astype(np.float32), scores, guessed.astype(np.int64)))
    return DataSet("drawn", tuple("abcd"), (7, 90, 3, 12), tuple(records), ()), answers


@pytest.mark.parametrize("most", [1, 5, 100])
@pytest.mark.parametrize("seed", thinned(range(8), 0, 1))
def test_every_figure_is_pycocotools_own_to_the_last_bit(seed, most):
    dataset, found = random_case(seed)
    table = precision_table(dataset, found, most)
    expected = plain_table(dataset, found, most)
    assert table.shape == (10, 101, 4, 4)
    assert np.array_equal(table, expected)
    assert (expected > 0).any()
    assert (expected[:, :, 3] == -1).all()


def test_without_detections_or_without_objects_it_is_pycocotools_own_as_well():
    dataset, found = random_case(3)
    nothing = [some.take(np.zeros(0, np.int64)) for some in found]
    assert np.array_equal(precision_table(dataset, nothing, 100), plain_table(dataset, nothing, 100))
    bare = [
        ImageRecord(i.id, i.path, i.hw, i.boxes[:0], i.labels[:0], i.areas[:0], i.crowd[:0]) for i in dataset.images
    ]
    empty = DataSet("empty", dataset.classes, dataset.category_ids, tuple(bare), ())
    assert (precision_table(empty, found, 100) == -1).all()


def test_it_holds_no_record_for_each_detection():
    dataset, found = random_case(0, images=30, found=200)
    count = sum(map(len, found))
    assert count > 2_000
    tracemalloc.start()
    precision_table(dataset, found, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 600 * count  # bytes; records of dicts and lists take 2,000 a detection
