"""Which of PyTorch's boxes a faithful file must deliver, may deliver, and must not deliver.

Two computations of the same network differ by rounding. The selection turns that into whole rows: at a score on the
limit, at two equal scores, at an overlap on the limit of suppression. `decide` runs the selection of the contract on
intervals instead of numbers. It leaves open exactly the rows that rounding decides, and those that depend on them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections, Selection, Sides, clamp, select_pairs
from nanogfl.contract.overlap import overlap
from nanogfl.model.predictor import RawOutputs

NO, MAYBE, YES = 0, 1, 2
_BLOCK = 256  # rows whose overlaps with all others are held at a time

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Slack:
    """How far the file's numbers may lie from PyTorch's."""

    score: float
    box: float
    """pixels of the network input"""


@dataclass(frozen=True)
class Pairs:
    """The P (point, class) pairs of one picture that could become detections, best first, as PyTorch sees them."""

    rows: Detections
    """boxes clamped, in network-input pixels; their spread, and `sides` where asked for"""
    best: NDArray[np.float32]
    """(P,) the largest score of the pair's point"""
    selected: NDArray[np.bool_]
    """(P,) PyTorch itself delivers it"""
    point_cut: float
    """score of the last point that is a candidate; below the limit where all are"""

    def __len__(self) -> int:
        return len(self.best)


def possible_pairs(
    raw: RawOutputs, sides: Sides | None, selection: Selection, hw: tuple[int, int], slack: float
) -> Pairs:
    """`slack`: the most that any score may differ."""
    best = raw.scores.max(axis=1)
    cut = _rank(best, selection.candidates)
    points = np.flatnonzero(best >= max(cut - 2 * slack, selection.score - slack))
    scores = raw.scores[points]
    lowest = max(_rank(scores[best[points] >= cut], selection.candidates) - 2 * slack, selection.score - slack)
    row, label = np.nonzero(scores >= lowest)
    order = np.argsort(-scores[row, label], kind="stable")
    row, label = row[order], label[order]
    point = points[row]
    chosen = set(zip(*(array.tolist() for array in select_pairs(raw.boxes, raw.scores, selection, hw)), strict=True))
    return Pairs(
        Detections(
            clamp(raw.boxes[point], hw),
            raw.scores[point, label],
            label.astype(np.int64),
            None if raw.spread is None else raw.spread[point],
            None if sides is None else sides.take(point),
        ),
        best[point],
        np.array([pair in chosen for pair in zip(point.tolist(), label.tolist(), strict=True)], dtype=bool),
        cut,
    )


def decide(pairs: Pairs, selection: Selection, slack: Slack) -> NDArray[np.int64]:
    """(P,) YES: every faithful file delivers the pair; NO: none does; MAYBE: it depends on rounding."""
    scores = pairs.rows.scores.astype(np.float64)
    state = _candidates(pairs, scores, selection, slack)
    for label in np.unique(pairs.rows.labels):
        rows = np.flatnonzero((pairs.rows.labels == label) & (state != NO))
        state[rows] = _suppress(pairs.rows.boxes[rows].astype(np.float64), scores[rows], state[rows], selection, slack)
    return _best(scores, state, selection.keep, slack)


def _rank(scores: NDArray[np.float32], count: int) -> float:
    """The `count`-th largest; minus infinity where there are no more than that."""
    return float(-np.partition(-scores.ravel(), count)[:count].max()) if scores.size > count else float("-inf")


def _candidates(pairs: Pairs, scores: Array, selection: Selection, slack: Slack) -> NDArray[np.int64]:
    apart = 2 * slack.score
    sure_point = pairs.best > pairs.point_cut + apart
    highest = _rank(pairs.rows.scores, selection.candidates)  # every point that could be one counts: the stricter cut
    lowest = _rank(pairs.rows.scores[sure_point], selection.candidates)
    maybe = (scores >= selection.score - slack.score) & (scores >= lowest - apart)
    maybe &= pairs.best >= pairs.point_cut - apart
    sure = sure_point & (scores > selection.score + slack.score) & (scores > highest + apart)
    return np.where(sure, YES, np.where(maybe, MAYBE, NO))


def _suppress(
    boxes: Array, scores: Array, state: NDArray[np.int64], selection: Selection, slack: Slack
) -> NDArray[np.int64]:
    """The state of each of A rows of one class, best first, after suppression by the rows that may come before it."""
    result, apart = state.copy(), 2 * slack.score
    for first in range(0, len(boxes), _BLOCK):
        block = slice(first, first + _BLOCK)
        iou, error = _overlap(boxes[block, None], boxes[None], slack.box)
        before = scores > scores[block, None] + apart
        certain = before & (iou - error > selection.iou)
        possible = (scores >= scores[block, None] - apart) & (iou + error > selection.iou)
        for row in np.flatnonzero(possible.sum(axis=1) > 1):  # each overlaps itself
            own = first + row
            possible[row, own] = False
            if (certain[row] & (result == YES)).any():
                result[own] = NO
            elif (possible[row] & (result != NO)).any():
                result[own] = MAYBE
    return result


def _overlap(ours: Array, theirs: Array, slack: float) -> tuple[Array, Array]:
    """IoU of boxes (A, 1, 4) with boxes (1, B, 4) -> (A, B), and its error when each side may be off by `slack`."""
    common = overlap(ours, theirs)
    sides, union, iou = common.sides, common.union, common.iou
    own, other = ours[..., 2:] - ours[..., :2], theirs[..., 2:] - theirs[..., :2]
    moved = 2 * slack * (sides.sum(axis=-1) + 2 * slack)
    area = 2 * slack * (own.sum(axis=-1) + other.sum(axis=-1) + 4 * slack) + moved
    return iou, (moved + iou * area) / union + 1e-6


def _best(scores: Array, state: NDArray[np.int64], keep: int, slack: Slack) -> NDArray[np.int64]:
    """Only the best `keep` are delivered."""
    apart = 2 * slack.score
    rising = np.sort(scores[state == YES]), np.sort(scores[state != NO])
    surely_better = len(rising[0]) - np.searchsorted(rising[0], scores + apart, side="right")
    maybe_better = len(rising[1]) - np.searchsorted(rising[1], scores - apart, side="left") - (state != NO)
    state = np.where(surely_better >= keep, NO, state)
    return np.where((state == YES) & (maybe_better >= keep), MAYBE, state)
