"""The rows that a file delivers for one picture: whether they keep the contract, and which of PyTorch's they are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.card import ModelCard
from nanogfl.contract.detections import Detections, sides_at
from nanogfl_export.gate.tolerances import BOX_TOLERANCE, SCORE_TOLERANCE
from nanogfl_export.gate.written_file import Outputs


class Matched(NamedTuple):
    """The pair of PyTorch's that each delivered row is, and the largest differences."""

    pair: NDArray[np.int64]
    """(D,) index of the pair, -1 where there is none"""
    box_px: float
    spread_px: float
    score: float
    points_px: float
    """of the positions of a distribution's bins"""
    probability: float


def contract_breach(outputs: Outputs, card: ModelCard) -> str | None:
    """How one picture's outputs break the ONNX contract, or None."""
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            return f"{name} holds numbers that are not finite"
    if card.format == "raw":
        return None
    scores, labels, boxes = outputs["scores"], outputs["labels"], outputs["boxes"]
    filled = labels != -1
    count = int(filled.sum())
    if filled[count:].any():
        return f"row {int(np.flatnonzero(~filled)[0])} is unused and detections follow it"
    if any(values[count:].any() for name, values in outputs.items() if name != "labels"):
        return f"the unused rows behind the {count} detections are not zero"
    if ((labels[:count] < 0) | (labels[:count] >= len(card.classes))).any():
        return f"a label lies outside of the {len(card.classes)} classes"
    if not (scores[:count] > card.selection.score).all():
        return f"a detection has a score of {scores[:count].min():g}, and {card.selection.score:g} is the limit"
    if (np.diff(scores[:count]) > 0).any():
        return "the rows are not sorted best first"
    height, width = card.input.hw
    if (boxes < 0).any() or (boxes[:, [0, 2]] > width).any() or (boxes[:, [1, 3]] > height).any():
        return "a box reaches outside of the input"
    if (boxes[:, 2:] < boxes[:, :2]).any():
        return "a box ends before it begins"
    return None


def delivered_rows(outputs: Outputs) -> Detections:
    """The used rows, in network-input pixels."""
    sides = sides_at(outputs["distributions"], outputs["points"]) if "distributions" in outputs else None
    labels = outputs["labels"].astype(np.int64)
    return Detections(outputs["boxes"], outputs["scores"], labels, outputs.get("spread"), sides).take(labels != -1)


def match_rows(
    found: Detections,
    pairs: Detections,
    unit: NDArray[np.float32] | float = 1.0,
    allowed: NDArray[np.bool_] | None = None,
) -> Matched:
    """Matches D rows with P pairs one to one: each row with the nearest free pair of its label, best row first.

    `unit` (4,): pixels of the boxes per pixel of the network input, which differences are measured in. `allowed` (P,):
    other pairs are taken only by rows that fit no allowed one.
    """
    count = len(found)
    pair = np.full(count, -1, dtype=np.int64)
    free = np.ones(len(pairs), dtype=bool)
    differences = np.zeros((5, count))
    for row in range(count):
        candidates = np.flatnonzero((pairs.labels == found.labels[row]) & free)
        if not len(candidates):
            continue
        measured = _differences(found, row, pairs, candidates, unit)
        box, spread, score = measured[:3]
        cost = np.maximum(box / BOX_TOLERANCE, score / SCORE_TOLERANCE) + 0.01 * np.minimum(spread / BOX_TOLERANCE, 1e3)
        cost = np.where(np.isnan(cost), np.inf, cost)
        if allowed is not None:
            cost = cost + np.where(allowed[candidates], 0.0, 1.0)
        nearest = int(np.argmin(cost))
        # farther away than this it is another detection
        if not (box[nearest] <= 20 * BOX_TOLERANCE and score[nearest] <= 20 * SCORE_TOLERANCE):
            continue
        pair[row] = candidates[nearest]
        free[pair[row]] = False
        differences[:, row] = measured[:, nearest]
    largest = [float(np.max(values, initial=0.0)) for values in differences]
    return Matched(pair, *largest)


def _differences(
    found: Detections, row: int, pairs: Detections, candidates: NDArray[np.int64], unit: NDArray[np.float32] | float
) -> NDArray[np.float64]:
    """(5, A) of a row from each candidate: box, spread, score, points, probability."""
    result = np.zeros((5, len(candidates)))
    result[0] = (np.abs(found.boxes[row] - pairs.boxes[candidates]) / unit).max(axis=1)
    if pairs.spread is not None and found.spread is not None:
        result[1] = (np.abs(found.spread[row] - pairs.spread[candidates]) / unit).max(axis=1)
    elif pairs.spread is not None:
        result[1] = np.inf
    result[2] = np.abs(found.scores[row] - pairs.scores[candidates])
    if pairs.sides is not None:
        if found.sides is None:
            result[3:] = np.inf
            return result
        for mine, theirs in ((found.sides.origin, pairs.sides.origin), (found.sides.step, pairs.sides.step)):
            result[3] = np.maximum(result[3], (np.abs(mine[row] - theirs[candidates]) / unit).max(axis=1))
        probabilities = np.abs(found.sides.probabilities[row] - pairs.sides.probabilities[candidates])
        result[4] = probabilities.max(axis=(1, 2))
    return result
