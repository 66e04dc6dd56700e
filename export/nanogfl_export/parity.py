"""The gate: the written file against the unmodified PyTorch detector, on real images, number by number."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose

from nanogfl.contract.card import ModelCard
from nanogfl.contract.detections import Detect, Detections, Selection
from nanogfl.contract.errors import UserError
from nanogfl.contract.ort import onnxruntime
from nanogfl.contract.preprocess import preprocess
from nanogfl.model.predictor import Predictor, RawOutputs
from nanogfl_export.assemble import RAW_PREFIX

BOX_TOLERANCE = 0.05  # pixels of the network input, boxes and spread
SCORE_TOLERANCE = 1e-4
MATCH_IOU = 0.99
MATCH_SCORE = 1e-3
TIE_SCORE = 1e-4  # this near to the score limit or to the last row's score, either side may be right
TIE_IOU = 1e-3  # likewise for an overlap near the suppression's limit
TIE_SHARE = 0.02


@dataclass
class Parity:
    """The largest differences over all images."""

    images: int = 0
    box_px: float = 0.0
    spread_px: float | None = None
    """None where boxes have no spread"""
    score: float = 0.0
    detections: int = 0
    """PyTorch's"""
    matched: int = 0
    """of them, those with a partner in the file's"""
    ties: int = 0
    """rows of either side without partner that a tie explains"""
    unexplained: list[str] = field(default_factory=list)
    tie_rows: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For the card: whatever is unexplained has no file."""
        return {key: value for key, value in asdict(self).items() if key != "unexplained"}

    def __str__(self) -> str:
        spread = "" if self.spread_px is None else f" spread {self.spread_px:.2g} px,"
        return (
            f"{self.images} images, largest differences: boxes {self.box_px:.2g} px,{spread}"
            f" scores {self.score:.2g}; {self.matched} of {self.detections} detections matched, {self.ties} ties"
        )

    def require(self) -> "Parity":
        """Raises UserError that says by how much the file differs."""
        # written so that NaN fails, too
        pixels = [self.box_px] + ([] if self.spread_px is None else [self.spread_px])
        if not (all(value <= BOX_TOLERANCE for value in pixels) and self.score <= SCORE_TOLERANCE):
            raise UserError(
                f"the .onnx does not agree with PyTorch ({self}; allowed: {BOX_TOLERANCE} px and {SCORE_TOLERANCE});"
                " no file was written"
            )
        if self.unexplained or self.ties > TIE_SHARE * self.detections:
            rows = self.unexplained or self.tie_rows
            raise UserError(
                f"the .onnx detects differently from PyTorch ({self}; without partner: {'; '.join(rows[:3])});"
                " no file was written"
            )
        return self


def measure_parity(
    path: Path,
    card: ModelCard,
    predictor: Predictor,
    open_device: Callable[[Path], Detect],
    frames: Iterable[tuple[str, NDArray[np.uint8]]],
    all_points: onnx.ModelProto,
) -> Parity:
    """Raw outputs from the file's own graph, detections as the device delivers them (`open_device(path)`).

    `all_points` (the network's outputs -> raw_boxes, raw_scores, raw_spread) is applied to the logits of a file that
    decodes only the points it has chosen, so that every point is compared; what it decodes itself is compared, too.
    """
    probe, detect = _RawProbe(path, card, all_points), open_device(path)
    parity = Parity()
    for name, frame in frames:
        image, _ = preprocess(frame, card.input)
        reference, found = predictor.raw(image), probe(image)
        parity.images += 1
        parity.box_px = _larger(parity.box_px, reference.boxes, found.boxes)
        if reference.spread is not None:
            assert found.spread is not None
            parity.spread_px = _larger(parity.spread_px or 0.0, reference.spread, found.spread)
        parity.score = _larger(parity.score, reference.scores, found.scores)
        parity.box_px = _larger(parity.box_px, *probe.chosen_boxes(reference))
        _compare_detections(parity, name, predictor(frame), detect(frame), card.selection)
    if not parity.images:
        raise UserError("the export needs at least one image to compare on: give --images FOLDER")
    if not parity.detections:
        raise UserError(
            f"the checkpoint finds nothing above {card.selection.score} on {parity.images} images, so agreement of"
            " detections cannot be shown: train longer, or give --images FOLDER with objects; no file was written"
        )
    return parity


class _RawProbe:
    """Network input -> the raw tensors inside the file: a copy in memory with those tensors as outputs, too."""

    def __init__(self, path: Path, card: ModelCard, all_points: onnx.ModelProto) -> None:
        model = onnx.load_model(path)
        self._names, self._chosen = ["boxes", "scores"] + ["spread"] * card.has_spread, []
        if card.format == "detections":
            self._names = [RAW_PREFIX + name for name in self._names]
            self._chosen = ["point", "point_boxes_free"]
            if RAW_PREFIX + "boxes" not in {name for node in model.graph.node for name in node.output}:
                own = compose.add_prefix(all_points, "probe_", rename_inputs=False, rename_outputs=False)
                model.graph.node.extend(own.graph.node)
                model.graph.initializer.extend(own.graph.initializer)
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in (*self._names, *self._chosen))
        self._batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # the copy's outputs have no declared type
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._values: list[NDArray[Any]] = []

    def __call__(self, image: NDArray[np.uint8]) -> RawOutputs:
        batch = np.repeat(image[None], self._batch, axis=0)
        values = [value[0] for value in self._session.run(self._names + self._chosen, {"image": batch})]
        self._values = values[len(self._names) :]
        boxes, scores, *spread = values[: len(self._names)]
        return RawOutputs(boxes, scores, spread[0] if spread else None)

    def chosen_boxes(self, reference: RawOutputs) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of the last image: the boxes that the file itself decoded, and PyTorch's of the same points."""
        if not self._chosen:
            return reference.boxes, reference.boxes
        points, boxes = self._values
        return boxes, reference.boxes[points]


def _larger(so_far: float, a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    if a.shape != b.shape:
        return float("inf")
    return float(np.maximum(so_far, np.abs(a - b).max()))  # np.maximum hands NaN on


def match_rows(ours: Detections, theirs: Detections) -> NDArray[np.int64]:
    """(D,) for each of our rows the row of theirs that is the same detection, -1 where none is.

    One to one: same label, IoU >= .99, score within 1e-3.
    """
    iou = pairwise_iou(ours.boxes, theirs.boxes)
    gap = np.abs(ours.scores[:, None] - theirs.scores[None])
    possible = (ours.labels[:, None] == theirs.labels[None]) & (iou >= MATCH_IOU) & (gap <= MATCH_SCORE)
    free = np.ones(len(theirs), dtype=bool)
    partner = np.full(len(ours), -1, dtype=np.int64)
    for row in range(len(ours)):
        partners = np.flatnonzero(possible[row] & free)
        if len(partners):
            partner[row] = partners[np.argmax(iou[row, partners])]
            free[partner[row]] = False
    return partner


def _compare_detections(parity: Parity, name: str, ours: Detections, theirs: Detections, selection: Selection) -> None:
    """Counts the rows that match; a tie may cost a row and what that row suppresses."""
    partner = match_rows(ours, theirs)
    free = np.ones(len(theirs), dtype=bool)
    free[partner[partner >= 0]] = False
    # side, other side, row, whose
    alone = [(ours, theirs, int(row), "PyTorch") for row in np.flatnonzero(partner < 0)]
    alone += [(theirs, ours, int(row), ".onnx") for row in np.flatnonzero(free)]
    parity.detections += len(ours)
    parity.matched += int((partner >= 0).sum())

    explained: list[tuple[Detections, int]] = []
    for side, other, row, whose in sorted(alone, key=lambda entry: -entry[0].scores[entry[2]]):
        text = f"{name}: only {whose} has label {side.labels[row]} score {side.scores[row]:.4f}"
        if _is_tie(side, other, row, selection, explained):
            explained.append((side, row))
            parity.ties += 1
            parity.tie_rows.append(text)
        else:
            parity.unexplained.append(text)


def _is_tie(
    side: Detections, other: Detections, row: int, selection: Selection, explained: list[tuple[Detections, int]]
) -> bool:
    score, label, box = side.scores[row], side.labels[row], side.boxes[row : row + 1]
    if abs(score - selection.score) <= TIE_SCORE:
        return True
    if len(other) == selection.keep:  # the other side has no room below its last row
        last = other.scores[-1]
        if abs(score - last) <= TIE_SCORE:
            return True
        # each row that the other side has by a tie pushes one row out at its end
        gained = sum(found is other for found, _ in explained)
        pushed_out = sum(found is side and found.scores[index] < last for found, index in explained)
        if score < last and pushed_out < gained:
            return True
    for found in (side, other):
        overlaps = pairwise_iou(box, found.boxes[found.labels == label])[0]
        if (np.abs(overlaps - selection.iou) <= TIE_IOU).any():
            return True
    # suppressed on one side by a row that itself is there only by a tie
    return any(
        found.labels[index] == label
        and pairwise_iou(box, found.boxes[index : index + 1])[0, 0] > selection.iou - TIE_IOU
        for found, index in explained
        if found is not side
    )


def pairwise_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """(A, 4), (B, 4) x1 y1 x2 y2 -> (A, B)."""
    first, second = a.astype(np.float64)[:, None], b.astype(np.float64)[None]
    sides = np.clip(np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]), 0, None)
    intersection = sides.prod(axis=-1)
    union = (first[..., 2:] - first[..., :2]).prod(-1) + (second[..., 2:] - second[..., :2]).prod(-1) - intersection
    result: NDArray[np.float64] = intersection / np.maximum(union, 1e-9)
    return result
