"""Where the objects of planned pictures go, and which of them remain objects."""

import numpy as np
import pytest

from nanogfl.config import AugmentConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.augment.boxes import move_truth
from nanogfl.data.augment.plan import Plans
from nanogfl.data.truth import FlatTruth
from tests.data.flat import equal, index_of, plans_of, record, still

SPEC = InputSpec((96, 160))


def layers(*parts, mix=0.0) -> Plans:
    """One picture of (image, matrix, window, only) layers, the mixup partner last."""
    index, matrix, window, only = zip(*parts, strict=True)
    return Plans(
        np.array([index]),
        np.array([matrix], np.float64),
        np.array([window], np.int32),
        np.array([only]),
        np.array([mix], np.float32),
        np.eye(3, 4, dtype=np.float32)[None],
    )


FULL, ABSENT = [0, 0, 160, 96], (-1, np.eye(3), [0, 0, 160, 96], -1)


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def shown(box, matrix, crowd=False, keep_visible=0.25) -> FlatTruth:
    """An image with one object of class 2, moved by the matrix."""
    index = index_of(record(0, (96, 160), [box], [2], [crowd]))
    return move_truth(index, layers((0, matrix, FULL, -1), ABSENT), keep_visible)


BOX, SLIVER = [10, 20, 50, 40], [10, 20, 10.9, 60]


@pytest.mark.parametrize(
    ("box", "move", "crowd", "learned", "ignored"),
    [
        (BOX, (-20, 0), False, [[0, 20, 30, 40]], []),  # clipped; three quarters are left
        (BOX, (-40, 0), False, [[0, 20, 10, 40]], []),  # exactly a quarter
        (BOX, (-41, 0), False, [], [[0, 20, 9, 40]]),  # less
        (BOX, (0, 76), False, [], []),  # outside, on each side
        (BOX, (-160, 0), False, [], []),
        (BOX, (0, -40), False, [], []),
        (BOX, (150, 0), False, [], []),
        (BOX, (0, 0), True, [], [BOX]),
        (SLIVER, (0, 0), False, [], [SLIVER]),  # less than a pixel wide
    ],
)
def test_an_object_is_clipped_ignored_or_gone(box, move, crowd, learned, ignored):
    truth = shown(box, shift(*move), crowd)
    np.testing.assert_allclose(truth.boxes, np.reshape(learned, (-1, 4)))
    np.testing.assert_allclose(truth.ignored, np.reshape(ignored, (-1, 4)), rtol=1e-6)
    assert truth.labels.tolist() == [2] * len(learned)


def test_a_flip_keeps_left_below_right():
    flip = plans_of(index_of(record(0, (96, 160), [[10, 20, 40, 50]])), SPEC, still(flip=1.0, flip_vertical=1.0), 1)
    truth = move_truth(index_of(record(0, (96, 160), [[10, 20, 40, 50]])), flip, 0.25)
    np.testing.assert_allclose(truth.boxes, [[120, 46, 150, 76]])  # 160 - 40, 96 - 50, 160 - 10, 96 - 20


def test_a_turned_box_is_the_upright_hull_of_its_corners():
    quarter = np.array([[0.0, -1, 100], [1, 0, 5], [0, 0, 1]])  # x' = 100 - y, y' = 5 + x
    assert shown([10, 20, 40, 50], quarter).boxes.tolist() == [[50, 15, 80, 45]]
    half = np.sqrt(0.5)
    eighth = np.array([[half, -half, 80], [half, half, 0], [0, 0, 1]])
    found = shown([40, 30, 60, 50], eighth).boxes[0]
    corners = [(half * (x - y) + 80, half * (x + y)) for x in (40, 60) for y in (30, 50)]
    np.testing.assert_allclose(found, [*np.min(corners, axis=0), *np.max(corners, axis=0)], rtol=1e-6)


def test_an_object_painted_over_is_gone_and_one_mostly_painted_over_is_ignored():
    objects = [[10, 10, 30, 30], [40, 10, 60, 30], [70, 10, 90, 30], [100, 10, 120, 30]]
    index = index_of(record(0, (96, 160), objects, [0, 1, 2, 0]), record(1, (96, 160), [[0, 0, 20, 10]], [2]))
    # over the first wholly, over the second but for a column, over a half of the third
    window = [5, 5, 58, 35]
    big = np.array([[53 / 20, 0, 5], [0, 3, 5], [0, 0, 1]])
    half = np.array([[0.5, 0, 70], [0, 2, 10], [0, 0, 1]])
    plans = layers((0, np.eye(3), FULL, -1), (1, big, window, 0), (1, half, [70, 10, 80, 30], 0), ABSENT)
    truth = move_truth(index, plans, 0.25)
    np.testing.assert_allclose(truth.boxes, [objects[2], objects[3], window, [70, 10, 80, 30]], rtol=1e-6)
    assert truth.labels.tolist() == [2, 0, 2, 2]
    assert truth.ignored.tolist() == [objects[1]]


def test_what_several_pasted_objects_hide_together_is_counted_once():
    """A share of visible pixels, counted on a canvas, decides for hundreds of random pictures."""
    numbers = np.random.default_rng(0)
    kept = gone = left = 0
    for _ in range(150):
        low = numbers.integers(0, 50, (6, 2))
        objects = np.concatenate([low, low + numbers.integers(5, 40, (6, 2))], axis=1)
        index = index_of(record(0, (96, 160), objects), record(1, (96, 160), [[0, 0, 10, 10]]))
        parts = [(0, np.eye(3), FULL, -1)]
        canvas = np.zeros((96, 160), int)
        pasted = []
        for layer in range(1, 4):
            x, y, w, h = *numbers.integers(0, 50, 2), *numbers.integers(5, 50, 2)
            parts.append((1, [[w / 10, 0, x], [0, h / 10, y], [0, 0, 1]], [x, y, x + w, y + h], 0))
            canvas[y : y + h, x : x + w] = layer
            pasted.append([x, y, x + w, y + h])
        boxes, ignored = [], []
        for layer, box in [*((0, box) for box in objects.tolist()), *enumerate(pasted, 1)]:
            x1, y1, x2, y2 = box
            share = (canvas[y1:y2, x1:x2] <= layer).mean()
            (boxes if share >= 0.4 else ignored if share > 0 else []).append(box)
            kept, left, gone = kept + (0.4 <= share < 1), left + (0 < share < 0.4), gone + (share == 0)
        truth = move_truth(index, layers(*parts, ABSENT), 0.4)
        np.testing.assert_allclose(truth.boxes.reshape(-1, 4), np.reshape(boxes, (-1, 4)), atol=1e-4)
        np.testing.assert_allclose(truth.ignored.reshape(-1, 4), np.reshape(ignored, (-1, 4)), atol=1e-4)
    assert min(kept, left, gone) > 50


def test_of_a_pasted_rectangle_only_the_object_is_learned_and_the_rest_is_no_background():
    objects = [[0, 0, 100, 50], [10, 10, 20, 30], [15, 15, 18, 18], [30, 30, 40, 40]]
    index = index_of(record(0, (96, 160)), record(1, (96, 160), objects, [0, 1, 2, 0]))
    plans = layers((0, np.eye(3), FULL, -1), (1, shift(50, 40), [60, 50, 70, 70], 1), ABSENT)
    truth = move_truth(index, plans, 0.25)
    assert truth.boxes.tolist() == [[60, 50, 70, 70]]
    assert truth.labels.tolist() == [1]
    assert truth.ignored.tolist() == [[60, 50, 70, 70], [65, 55, 68, 58]]


def test_mixup_keeps_the_objects_of_both_and_neither_hides_the_other():
    index = index_of(record(0, (96, 160), [[10, 10, 50, 50]], [1]), record(1, (96, 160), [[20, 20, 60, 60]], [2]))
    pasted = (1, shift(-15, 5), [5, 25, 45, 65], 0)  # leaves 40 * 40 - 35 * 25 of the first object's 1600: 45 %
    plans = layers((0, np.eye(3), FULL, -1), pasted, (1, np.eye(3), FULL, -1), mix=0.5)
    truth = move_truth(index, plans, 0.4)
    assert truth.boxes.tolist() == [[10, 10, 50, 50], [5, 25, 45, 65], [20, 20, 60, 60]]
    assert truth.labels.tolist() == [1, 2, 2]
    # asked for half, only the first one fails: the partner's object, as much below the pasted one, does not
    strict = move_truth(index, plans, 0.5)
    assert strict.boxes.tolist() == [[5, 25, 45, 65], [20, 20, 60, 60]]
    assert strict.ignored.tolist() == [[10, 10, 50, 50]]


def test_an_object_of_a_mosaic_ends_at_its_window():
    index = index_of(record(0, (96, 160), [[0, 0, 160, 96], [100, 10, 120, 30]], [0, 1]))
    windows = [[0, 0, 64, 48], [64, 0, 160, 48], [0, 48, 64, 96], [64, 48, 160, 96]]
    parts = [(0, np.eye(3), window, -1) for window in windows]
    truth = move_truth(index, layers(*parts, ABSENT), 0.15)
    assert truth.boxes.tolist() == [windows[0], windows[1], [100, 10, 120, 30], windows[2], windows[3]]
    assert truth.image.tolist() == [0] * 5


def test_the_flat_truth_knows_each_objects_picture_with_an_empty_one_between():
    index = index_of(
        record(0, (96, 160), [[1, 1, 20, 20], [5, 5, 9, 9]], [0, 1], [False, True]),
        record(1, (96, 160)),
        record(2, (96, 160), [[2, 2, 8, 8], [3, 3, 9, 9]], [2, 1]),
    )
    truth = move_truth(index, plans_of(index, SPEC, still(), 3), 0.25)
    assert truth.image.tolist() == [0, 2, 2]
    assert truth.labels.tolist() == [0, 2, 1]
    assert truth.ignored_image.tolist() == [0]
    np.testing.assert_allclose(truth.boxes, [[1, 1, 20, 20], [2, 2, 8, 8], [3, 3, 9, 9]])


def test_images_without_objects_give_empty_lists_of_the_right_types():
    index = index_of(record(0, (50, 60)), record(1, (60, 50)))
    for augment in (AugmentConfig(), AugmentConfig(mosaic=1.0, mixup=1.0, copy_paste=1.0)):
        truth = move_truth(index, plans_of(index, SPEC, augment), 0.25)
        assert [part.shape for part in truth] == [(0, 4), (0,), (0,), (0, 4), (0,)]
        assert [part.dtype for part in truth] == [np.float32, np.int64, np.int64, np.float32, np.int64]


def test_the_truth_of_a_picture_does_not_depend_on_the_batch_around_it():
    numbers = np.random.default_rng(2)
    low = numbers.uniform(0, 60, (12, 2))
    boxes = np.concatenate([low, low + numbers.uniform(5, 30, (12, 2))], axis=1)
    index = index_of(*(record(n, (96, 160), boxes[3 * n : 3 * n + 3], [0, 1, 2]) for n in range(4)))
    augment = AugmentConfig(mosaic=0.5, mixup=0.5, copy_paste=0.8, rotate=10, perspective=0.2)
    plans = plans_of(index, SPEC, augment, 40)
    whole = move_truth(index, plans, 0.25)
    assert (np.diff(whole.image) >= 0).all()
    assert (np.diff(whole.ignored_image) >= 0).all()
    for b in range(40):
        alone = move_truth(index, Plans(*(part[b : b + 1] for part in plans)), 0.25)
        mine, ignored = whole.image == b, whole.ignored_image == b
        expected = (whole.boxes[mine], whole.labels[mine], alone.image, whole.ignored[ignored], alone.ignored_image)
        assert equal(alone, expected)


@pytest.mark.parametrize("keep_visible", [0.0, 0.5, 1.0])
def test_every_object_inside_is_kept_whatever_share_must_be_visible(keep_visible):
    truth = shown([10.25, 20.5, 50.125, 40.75], shift(0, 0), keep_visible=keep_visible)
    assert len(truth.boxes) == 1
