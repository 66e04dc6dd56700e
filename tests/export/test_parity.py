"""Which differences between two lists of detections the gate explains by a tie, and which it refuses."""

import numpy as np
import pytest

from nanogfl.contract.detections import Detections, Selection
from nanogfl.contract.errors import UserError
from nanogfl_export.parity import Parity, _compare_detections, pairwise_iou

FAR = [200.0, 200, 240, 240]


def rows(*entries):
    """(box, score, label) each, best first."""
    boxes, scores, labels = zip(*entries, strict=True) if entries else ((), (), ())
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )


def compare(ours, theirs, selection=Selection()):  # noqa: B008
    parity = Parity(images=1)
    _compare_detections(parity, "picture", ours, theirs, selection)
    return parity


def test_iou_by_hand():
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(pairwise_iou(a, b), [[1, 1 / 3, 0]])


def test_the_same_rows_in_another_order_of_equal_scores_match():
    first, second = ([0, 0, 40, 40], 0.8, 1), (FAR, 0.8, 1)
    parity = compare(rows(first, second), rows(second, first))
    assert (parity.detections, parity.matched, parity.ties, parity.unexplained) == (2, 2, 0, [])


def test_a_row_is_the_partner_of_one_row_only():
    twice = ([0, 0, 40, 40], 0.8, 1)
    parity = compare(rows(twice, twice), rows(twice))
    assert (parity.detections, parity.matched, len(parity.unexplained)) == (2, 1, 1)


@pytest.mark.parametrize(
    "changed",
    [([0, 0, 40, 40], 0.8, 2), ([0, 0, 40, 40], 0.7, 1), ([0, 0, 40, 42], 0.8, 1)],
    ids=["another label", "another score", "another box"],
)
def test_a_row_that_differs_is_unexplained_on_both_sides(changed):
    parity = compare(rows(([0, 0, 40, 40], 0.8, 1)), rows(changed))
    assert parity.matched == 0
    assert len(parity.unexplained) == 2
    with pytest.raises(UserError, match=r"detects differently from PyTorch .* only PyTorch has label 1 score 0\.8000"):
        parity.require()


@pytest.mark.parametrize(("score", "tie"), [(0.05005, True), (0.0512, False)])
def test_a_row_at_the_score_limit_is_a_tie(score, tie):
    parity = compare(rows((FAR, score, 0)), rows())
    assert (parity.ties, len(parity.unexplained)) == ((1, 0) if tie else (0, 1))


@pytest.mark.parametrize(("score", "tie"), [(0.30005, True), (0.31, False)])
def test_a_row_beside_the_last_one_of_a_full_list_is_a_tie(score, tie):
    selection = Selection(keep=2)
    best, last = ([0, 0, 40, 40], 0.9, 0), ([50, 50, 90, 90], 0.3, 0)
    parity = compare(rows(best, (FAR, score, 0)), rows(best, last), selection)
    assert parity.matched == 1
    assert bool(parity.unexplained) != tie


@pytest.mark.parametrize(("width", "tie"), [(60.05, True), (65.0, False)])
def test_a_row_whose_suppression_hangs_on_the_iou_limit_is_a_tie(width, tie):
    best = ([0.0, 0, 100, 100], 0.9, 0)
    doubtful = ([0.0, 0, width, 100], 0.5, 0)  # IoU width / 100, the limit is .6
    parity = compare(rows(best, doubtful), rows(best))
    assert (parity.ties, len(parity.unexplained)) == ((1, 0) if tie else (0, 1))


def test_what_a_tied_row_suppresses_is_explained_with_it():
    best = ([0.0, 0, 100, 100], 0.9, 0)
    doubtful = ([0.0, 0, 60.05, 100], 0.5, 0)
    behind = ([0.0, 0, 45, 100], 0.4, 0)  # IoU .749 with the doubtful one, .45 with the best
    parity = compare(rows(best, doubtful), rows(best, behind))
    assert (parity.matched, parity.ties, parity.unexplained) == (1, 2, [])
    alone = compare(rows(best), rows(best, behind))
    assert len(alone.unexplained) == 1


def test_a_tied_row_pushes_one_row_and_no_more_out_of_a_full_list():
    selection = Selection(keep=3)
    best, doubtful = ([0.0, 0, 100, 100], 0.9, 0), ([0.0, 0, 60.05, 100], 0.5, 0)
    third, fourth, fifth = (FAR, 0.4, 0), ([300.0, 0, 340, 40], 0.3, 0), ([400.0, 0, 440, 40], 0.2, 0)
    one = compare(rows(best, doubtful, third), rows(best, third, fourth), selection)
    assert (one.matched, one.ties, one.unexplained) == (2, 2, [])
    more = compare(rows(best, doubtful, third), rows(best, fourth, fifth), selection)
    assert more.unexplained
    none = compare(rows(best, third, fourth), rows(best, third, fifth), selection)
    assert len(none.unexplained) == 2


def test_too_many_ties_are_refused_however_well_explained():
    parity = Parity(images=1, detections=100, matched=98, ties=2)
    assert parity.require() is parity
    parity.ties, parity.tie_rows = 3, ["picture: only .onnx has label 0 score 0.0500"]
    with pytest.raises(UserError, match=r"3 ties; without partner: picture: only \.onnx"):
        parity.require()


@pytest.mark.parametrize("measured", [{"box_px": 0.051}, {"spread_px": 0.051}, {"score": 1.1e-4}])
def test_every_raw_tolerance_counts(measured):
    with pytest.raises(UserError, match="does not agree with PyTorch"):
        Parity(images=1, detections=1, matched=1, **measured).require()
