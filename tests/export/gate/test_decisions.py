"""What rounding may decide: held against the selection itself, run on numbers that are a little off."""

import numpy as np
import pytest

from nanogfl.contract.detections import Selection, select_pairs
from nanogfl.model.predictor import RawOutputs
from nanogfl_export.gate.decisions import MAYBE, NO, YES, Slack, decide, possible_pairs

HW = (96, 128)
FAR = [90.0, 60, 120, 90]


def seeds(count):
    """A quarter of them in every run."""
    return [pytest.param(seed, marks=() if seed % 4 == 0 else pytest.mark.exhaustive) for seed in range(count)]


def random_picture(seed, points=60, classes=3):
    """Boxes in clusters, so that much is suppressed, some of it hardly; scores on a coarse scale, so that many tie."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(10, 90, (6, 2))[rng.integers(0, 6, points)] + rng.normal(0, 3, (points, 2))
    size = rng.uniform(15, 40, (points, 2))
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float32)
    scores = rng.uniform(0, 0.5, (points, classes)).astype(np.float32)
    coarse = rng.random((points, classes)) < 0.5
    scores[coarse] = np.round(scores[coarse], 1)
    return RawOutputs(boxes, scores, None)


def decided(raw, selection, slack):
    pairs = possible_pairs(raw, None, selection, HW, max(slack.score, 1e-4))
    return pairs, decide(pairs, selection, slack)


@pytest.mark.parametrize("seed", seeds(40))
def test_whatever_rounding_does_the_certain_rows_are_delivered_and_the_impossible_are_not(seed):
    rng = np.random.default_rng(seed)
    raw = random_picture(seed)
    candidates = int(rng.choice([20, 60, 180]))
    selection = Selection(score=0.1, iou=0.5, candidates=candidates, keep=int(rng.choice([5, 20])))
    slack = Slack(score=1e-3, box=0.2)
    pairs, state = decided(raw, selection, slack)
    place = {tuple(row): index for index, row in enumerate(np.c_[pairs.rows.scores, pairs.rows.labels].tolist())}
    seen = np.zeros(len(pairs), dtype=int)
    rounds = 60
    for _ in range(rounds):
        moved = raw.boxes + rng.uniform(-slack.box, slack.box, raw.boxes.shape).astype(np.float32)
        scores = raw.scores + rng.uniform(-slack.score, slack.score, raw.scores.shape).astype(np.float32)
        point, label = select_pairs(moved, scores, selection, HW)
        for index in zip(raw.scores[point, label].tolist(), label.tolist(), strict=True):
            seen[place[index]] += 1  # equal scores of one class share a place: what is said of one holds for both
    unique = np.array([(np.c_[pairs.rows.scores, pairs.rows.labels] == row).all(axis=1).sum() == 1
                       for row in np.c_[pairs.rows.scores, pairs.rows.labels]])  # fmt: skip
    assert (seen[unique & (state == YES)] == rounds).all()
    assert (seen[unique & (state == NO)] == 0).all()


@pytest.mark.parametrize("seed", seeds(20))
def test_without_rounding_and_equal_scores_everything_is_decided(seed):
    raw = random_picture(seed)
    rng = np.random.default_rng(seed)
    raw = raw._replace(scores=rng.permutation(raw.scores.size).reshape(raw.scores.shape).astype(np.float32) / 500)
    selection = Selection(score=0.1, iou=0.5, candidates=50, keep=10)
    pairs, state = decided(raw, selection, Slack(0.0, 0.0))
    np.testing.assert_array_equal(state == YES, pairs.selected)
    assert (state != MAYBE).all()


def picture(*rows):
    """(box, score) each, of one class."""
    boxes, scores = zip(*rows, strict=True)
    return RawOutputs(np.array(boxes, np.float32), np.array(scores, np.float32)[:, None], None)


SLACK = Slack(score=1e-4, box=1e-3)
BEST = ([0.0, 0, 100, 90], 0.9)


@pytest.mark.parametrize(("score", "expected"), [(0.05005, MAYBE), (0.0512, YES), (0.0498, None)])
def test_a_score_at_the_limit_is_open(score, expected):
    pairs, state = decided(picture(BEST, (FAR, score)), Selection(), SLACK)
    assert state.tolist() == [YES] + ([] if expected is None else [expected])
    assert len(pairs) == len(state)


@pytest.mark.parametrize(("width", "expected"), [(60.0, MAYBE), (60.05, NO), (59.95, YES)])
def test_an_overlap_at_the_limit_is_open(width, expected):
    raw = picture(BEST, ([0.0, 0, width, 90], 0.5))  # IoU width / 100, the limit is .6
    assert decided(raw, Selection(), SLACK)[1].tolist() == [YES, expected]


def test_what_an_open_row_would_suppress_is_open_with_it():
    raw = picture(BEST, ([0.0, 0, 60, 90], 0.5), ([0.0, 0, 45, 90], 0.4))  # .45 with the best, .75 with the second
    assert decided(raw, Selection(), SLACK)[1].tolist() == [YES, MAYBE, MAYBE]


def test_equal_scores_leave_open_which_of_two_suppresses_the_other():
    raw = picture(([0.0, 0, 50, 90], 0.5), ([2.0, 0, 52, 90], 0.5), (FAR, 0.3))
    assert decided(raw, Selection(), SLACK)[1].tolist() == [MAYBE, MAYBE, YES]


def test_a_full_list_leaves_open_only_the_rows_that_tie_for_its_end():
    raw = picture(BEST, (FAR, 0.30005), ([0, 0, 20, 20], 0.3), ([0, 40, 20, 60], 0.2))
    assert decided(raw, Selection(keep=2), SLACK)[1].tolist() == [YES, MAYBE, MAYBE, NO]


def test_the_candidates_end_is_open_where_scores_tie_there():
    raw = picture(BEST, (FAR, 0.4), ([0, 0, 20, 20], 0.4), ([0, 40, 20, 60], 0.2))
    assert decided(raw, Selection(candidates=2, keep=2), SLACK)[1].tolist()[:3] == [YES, MAYBE, MAYBE]
