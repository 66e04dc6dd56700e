"""What the contract says of a file's rows, and which of PyTorch's they are."""

import numpy as np
import pytest

from nanogfl.contract.card import ModelCard
from nanogfl.contract.detections import Detections, Selection
from nanogfl.contract.input_spec import InputSpec
from nanogfl_export.gate.rows import contract_breach, delivered_rows, match_rows

CARD = ModelCard(("a", "b"), (1, 2), InputSpec((96, 128)), Selection(keep=4), "detections", has_spread=True)


def outputs():
    """Four rows, two of them in use."""
    boxes = np.array([[0, 0, 40, 40], [60, 60, 128, 96], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    scores, labels = np.array([0.8, 0.3, 0, 0], np.float32), np.array([1, 0, -1, -1], np.int64)
    spread = np.array([[1, 2, 3, 4], [4, 3, 2, 1], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    return {"boxes": boxes, "scores": scores, "labels": labels, "spread": spread}


def test_rows_as_the_contract_says_pass_also_when_there_are_none():
    assert contract_breach(outputs(), CARD) is None
    none = {name: np.zeros_like(value) for name, value in outputs().items()}
    none["labels"] -= 1
    assert contract_breach(none, CARD) is None
    assert len(delivered_rows(none)) == 0
    assert delivered_rows(outputs()).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("scores", 2, 1e-3), ("labels", 2, 0), ("boxes", (3, 2), 5), ("spread", (3, 0), 1), ("labels", 0, 2),
        ("labels", 0, -1), ("scores", 1, 0.9), ("scores", 1, 0.05), ("boxes", (0, 0), -1), ("boxes", (1, 2), 129),
        ("boxes", (0, 2), -0.0 - 1), ("spread", (0, 1), np.nan), ("scores", 0, np.inf),
    ],
)  # fmt: skip
def test_every_breach_of_the_contract_is_named(name, index, value):
    rows = outputs()
    rows[name][index] = value
    assert contract_breach(rows, CARD)


def detections(boxes, scores, labels, spread=None):
    to_array = np.float32
    return Detections(
        np.array(boxes, to_array).reshape(-1, 4), np.array(scores, to_array), np.array(labels, np.int64),
        None if spread is None else np.array(spread, to_array).reshape(-1, 4),
    )  # fmt: skip


def test_each_row_is_one_pair_and_the_differences_are_measured():
    pairs = detections([[0, 0, 40, 40], [0, 0, 40, 40], [50, 50, 60, 60]], [0.5, 0.5, 0.4], [0, 0, 1], np.ones((3, 4)))
    found = detections([[50, 50, 60, 60.03], [0, 0, 40, 40], [0, 0, 40, 40], [0, 0, 40, 40]],
                       [0.40002, 0.5, 0.5, 0.5], [1, 0, 0, 0], np.ones((4, 4)))  # fmt: skip
    found.spread[0, 3] = 3
    matched = match_rows(found, pairs)
    assert sorted(matched.pair[:3].tolist()) == [0, 1, 2]
    assert matched.pair[3] == -1  # both are taken
    assert matched.box_px == pytest.approx(0.03, abs=1e-4)
    assert matched.spread_px == pytest.approx(2)
    assert matched.score == pytest.approx(2e-5, rel=0.01)


def test_of_two_boxes_alike_the_one_with_the_same_spread_is_the_partner():
    pairs = detections([[0, 0, 40, 40]] * 2, [0.5, 0.5], [0, 0], [[1, 1, 1, 1], [9, 9, 9, 9]])
    found = detections([[0, 0, 40, 40.001]], [0.5], [0], [[9, 9, 9, 9]])
    assert match_rows(found, pairs).pair.tolist() == [1]


@pytest.mark.parametrize("change", [{"labels": [1]}, {"scores": [0.51]}, {"boxes": [0, 0, 40, 42]}])
def test_another_detection_has_no_partner(change):
    row = {"boxes": [0, 0, 40, 40], "scores": [0.5], "labels": [0]}
    assert match_rows(detections(**{**row, **change}), detections(**row)).pair.tolist() == [-1]


def test_differences_are_in_pixels_of_the_network_input():
    pairs, found = (detections([0, 0, 400, 400 + off], [0.5], [0], [off, 0, 0, 0]) for off in (0, 2))
    matched = match_rows(found, pairs, unit=np.array([10, 10, 10, 10], np.float32))
    assert (matched.box_px, matched.spread_px) == (pytest.approx(0.2), pytest.approx(0.2))


def test_an_empty_box_matches_itself():
    box = detections([10, 96, 90, 96], [0.5], [0])
    assert match_rows(box, box).pair.tolist() == [0]
