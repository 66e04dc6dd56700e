"""An epoch's order and LVIS's repeat factors, counted by hand."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.data.order import EpochOrder, repeat_factors


def image(number: int, labels: list[int], crowd: tuple[int, ...] = ()) -> ImageRecord:
    boxes = np.tile(np.array([1, 1, 5, 5], np.float32), (len(labels), 1))
    areas = np.full(len(labels), 16, np.float32)
    return ImageRecord(
        number,
        Path(f"{number}.png"),
        (8, 8),
        boxes,
        np.array(labels, np.int64),
        areas,
        np.isin(range(len(labels)), crowd),
    )


def dataset(*labels: list[int], classes: int = 3) -> DataSet:
    names = tuple("abcdef"[:classes])
    return DataSet("test", names, tuple(range(classes)), tuple(image(i, each) for i, each in enumerate(labels)), ())


# Of 16 images 16 hold class 0, 4 class 1, one class 2, none class 3.
LONG_TAIL = dataset([0, 1, 2], *[[0, 1, 1]] * 3, *[[0]] * 12, classes=4)


def test_factors_are_those_of_the_rarest_class_of_an_image():
    factors = repeat_factors(LONG_TAIL, 0.5)
    # share 1/16: sqrt(.5 * 16) = 2.83; share 1/4: sqrt(2); share 1: not below 1
    assert factors == pytest.approx([math.sqrt(8), *[math.sqrt(2)] * 3, *[1.0] * 12])
    assert repeat_factors(LONG_TAIL, 0.0).tolist() == [1.0] * 16
    assert repeat_factors(LONG_TAIL, 0.0625).tolist() == [1.0] * 16  # the rarest class has just this share


def test_images_without_objects_and_crowds_are_not_repeated():
    images = (image(0, [1], crowd=(0,)), image(1, []), image(2, [0]), image(3, [1]))
    factors = repeat_factors(DataSet("test", ("a", "b"), (1, 2), images, ()), 1.0)
    assert factors.tolist() == [1.0, 1.0, 2.0, 2.0]  # each class in one of four images: sqrt(4)


def test_on_average_an_image_is_shown_as_often_as_its_factor():
    order = EpochOrder(LONG_TAIL, seed=0, repeat_threshold=0.5)
    assert order.length == math.floor(math.sqrt(8) + 3 * math.sqrt(2) + 12)
    counts = Counter()
    for epoch in range(300):
        indices = order.order(epoch)
        assert len(indices) == order.length
        shown = Counter(indices.tolist())
        assert shown[0] in (1, 2, 3)  # 2.83, and at most one image an epoch falls to the whole number of batches
        counts += shown
    assert counts[0] / 300 == pytest.approx(math.sqrt(8), rel=0.05)
    assert counts[1] / 300 == pytest.approx(math.sqrt(2), rel=0.08)
    assert counts[9] / 300 == pytest.approx(1.0, rel=0.08)


def test_without_a_threshold_an_epoch_is_a_permutation_that_seed_and_epoch_decide():
    order = EpochOrder(LONG_TAIL, seed=3)
    assert sorted(order.order(5)) == list(range(16))
    assert order.order(5).tolist() == EpochOrder(LONG_TAIL, seed=3).order(5).tolist()
    others = [order.order(6), EpochOrder(LONG_TAIL, seed=4).order(5)]
    assert all(other.tolist() != order.order(5).tolist() for other in others)


def test_images_from_any_position_on_follow_the_epochs_one_after_the_other():
    order = EpochOrder(LONG_TAIL, seed=3)
    whole = [index for epoch in range(4) for index in order.order(epoch).tolist()]
    for start, count in ((0, 16), (5, 3), (5, 40), (16, 16), (15, 2)):
        assert order.images(start, count).tolist() == whole[start : start + count]
