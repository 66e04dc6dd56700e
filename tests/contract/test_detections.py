"""The selection against a plain Python loop, written from the words of docs/formulas.md."""

import numpy as np
import pytest

from nanogfl.contract.detections import Detections, Selection, select, to_source
from nanogfl.contract.input_spec import InputSpec, place
from tests import thinned as thin

HW = (64, 96)


def overlap(a, b):
    """IoU of two boxes in double precision."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def by_hand(boxes, scores, selection):
    """[(point, class)] kept, best first."""
    count, classes = scores.shape
    points = sorted(range(count), key=lambda n: (-max(scores[n]), n))[: selection.candidates]
    # ties: the order of the points (by their best class), then of the classes
    pairs = [(n, c) for n in points for c in range(classes)]
    pairs = sorted(pairs, key=lambda pair: -scores[pair])[: selection.candidates]  # sorted() is stable
    limits = (HW[1], HW[0], HW[1], HW[0])
    clamped = [[min(max(float(v), 0.0), top) for v, top in zip(box, limits, strict=True)] for box in boxes]
    kept = []
    for point, label in pairs:
        if scores[point, label] <= selection.score:
            continue
        if all(c != label or overlap(clamped[point], clamped[n]) <= selection.iou for n, c in kept):
            kept.append((point, label))
    return kept[: selection.keep]


def random_case(seed):
    rng = np.random.default_rng(seed)
    count, classes = int(rng.integers(1, 120)), int(rng.integers(1, 5))
    corner = rng.uniform(-10, 80, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 50, (count, 2))], axis=1)
    scores = rng.uniform(0, 1, (count, classes)) ** 2
    if seed % 3 == 0:  # many ties
        scores = np.round(scores, 1)
        boxes = np.round(boxes / 8) * 8
    if seed % 5 == 0:
        scores[rng.uniform(size=count) < 0.8] = 0.01
    selection = Selection(candidates=int(rng.integers(20, 200)), keep=int(rng.integers(1, 20)))
    return boxes.astype(np.float32), scores.astype(np.float32), selection


@pytest.mark.parametrize("seeds", thin.seeds(60, 300))
def test_selection_equals_the_plain_loop(seeds):
    for seed in seeds:
        boxes, scores, selection = random_case(seed)
        spread = np.arange(boxes.size, dtype=np.float32).reshape(boxes.shape)
        found = select(boxes, scores, spread, selection, HW)
        expected = by_hand(boxes, scores, selection)
        points = [point for point, _ in expected]
        assert found.labels.tolist() == [label for _, label in expected], f"seed {seed}"
        assert np.array_equal(found.spread, spread[points].reshape(-1, 4)), f"seed {seed}"
        assert np.array_equal(found.scores, np.array([scores[pair] for pair in expected], np.float32)), f"seed {seed}"
        clamped = np.clip(boxes[points].reshape(-1, 4), 0, [HW[1], HW[0], HW[1], HW[0]]).astype(np.float32)
        assert np.array_equal(found.boxes, clamped), f"seed {seed}"


def test_nothing_above_the_threshold_is_an_empty_result_with_all_shapes():
    found = select(
        np.ones((5, 4), np.float32), np.full((5, 2), 0.05, np.float32), np.ones((5, 4), np.float32), Selection(), HW
    )
    assert (found.boxes.shape, found.scores.shape, found.labels.shape, found.spread.shape) == (
        (0, 4),
        (0,),
        (0,),
        (0, 4),
    )
    assert found.labels.dtype == np.int64


def test_equal_scores_keep_the_order_of_points():
    boxes = np.array([[i * 20, 0, i * 20 + 10, 10] for i in range(4)], np.float32)
    found = select(boxes, np.full((4, 1), 0.5, np.float32), None, Selection(), HW)
    assert np.array_equal(found.boxes, boxes)
    assert found.spread is None


def test_equal_boxes_of_two_classes_are_both_kept_and_of_one_class_only_the_best():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], np.float32)
    found = select(boxes, np.array([[0.9, 0.2], [0.8, 0.3]], np.float32), None, Selection(), HW)
    assert found.labels.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.3])


def test_a_suppressed_box_suppresses_nothing():
    # b overlaps a and c by IoU 2/3, a and c share 1/3: b falls to a, c stays
    boxes = np.array([[0, 0, 30, 10], [6, 0, 36, 10], [12, 0, 42, 10]], np.float32)
    found = select(boxes, np.array([[0.9], [0.8], [0.7]], np.float32), None, Selection(), HW)
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])


def test_hundreds_of_objects_fill_keep_and_no_more():
    rows, columns = np.divmod(np.arange(600), 30)
    boxes = np.stack([columns * 3, rows * 3, columns * 3 + 2, rows * 3 + 2], axis=1).astype(np.float32)
    scores = np.linspace(0.9, 0.1, 600, dtype=np.float32)[:, None]
    found = select(boxes, scores, None, Selection(), HW)
    assert np.array_equal(found.boxes, boxes[:100])


def test_a_box_is_clamped_before_it_is_compared():
    # outside the input they differ, inside they are the same box
    boxes = np.array([[80, 0, 96, 64], [80, 0, 400, 64]], np.float32)
    found = select(boxes, np.array([[0.9], [0.8]], np.float32), None, Selection(), HW)
    assert len(found) == 1


def test_way_back_turns_boxes_and_spread_into_source_pixels():
    placement = place((128, 96), InputSpec(hw=HW))  # y was halved
    found = Detections(
        np.array([[1, 2, 3, 100]], np.float32),
        np.ones(1, np.float32),
        np.zeros(1, np.int64),
        np.ones((1, 4), np.float32),
    )
    back = to_source(found, placement)
    assert back.boxes.tolist() == [[1, 4, 3, 128]]
    assert back.spread.tolist() == [[1, 2, 1, 2]]


def test_above_includes_the_score_itself():
    found = Detections(np.zeros((2, 4), np.float32), np.array([0.5, 0.25], np.float32), np.zeros(2, np.int64))
    assert len(found.above(0.5)) == 1
    assert len(found.above(0.25)) == 2


def test_empty_boxes_overlap_nothing_not_even_each_other():
    # both lie right of the input and are clamped to a line without area
    boxes = np.array([[100, 0, 120, 64], [110, 0, 130, 64], [80, 0, 96, 64]], np.float32)
    found = select(boxes, np.array([[0.9], [0.8], [0.7]], np.float32), None, Selection(), HW)
    assert found.boxes.tolist() == [[96, 0, 96, 64], [96, 0, 96, 64], [80, 0, 96, 64]]


def test_a_selection_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="keep 200, candidates 100"):
        Selection(candidates=100, keep=200)
    with pytest.raises(ValueError, match="iou"):
        Selection(iou=0)
