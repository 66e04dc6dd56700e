"""The gate: compares what the written file delivers with the unmodified PyTorch detector, on real images, row by row.

Two passes. While the pictures come in, each runs through PyTorch, through the file, and through the device's own code.
Only when all have run are the largest differences known, and with them which rows rounding may decide (`decisions`);
then every delivered row must be one of PyTorch's, and every certain row of PyTorch's must be delivered.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from nanogfl.contract.card import ModelCard
from nanogfl.contract.detections import Detections, map_to_source, select
from nanogfl.contract.preprocess import preprocess
from nanogfl.errors import UserError
from nanogfl.model.predictor import Predictor, RawOutputs
from nanogfl_export.gate.decisions import MAYBE, NO, YES, Pairs, Slack, decide, possible_pairs
from nanogfl_export.gate.parity import Parity
from nanogfl_export.gate.pictures import Crowd, plain_pictures
from nanogfl_export.gate.probe import Probe
from nanogfl_export.gate.rows import contract_breach, delivered_rows, match_rows
from nanogfl_export.gate.tolerances import BOX_TOLERANCE, SCORE_TOLERANCE
from nanogfl_export.gate.written_file import WrittenFile

_MISTAKES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""what a device's code may raise on rows that it does not expect"""


class Device(Protocol):
    """The runtime that users have, opened on the written file."""

    class_names: tuple[str, ...]
    card: ModelCard

    def __call__(self, frame: NDArray[np.uint8], /) -> Detections:
        """Frame (H, W, 3) BGR -> its detections in the frame's pixels."""


class _View(NamedTuple):
    """The detections of one client for a picture, and PyTorch's pairs in the same pixels."""

    found: Detections
    pairs: Detections
    unit: NDArray[np.float32]
    """(4,) these pixels per pixel of the network input"""
    visible: NDArray[np.float32]
    """(P,) pixels of the network input: the shorter side of the part of each box inside the picture; a box without such
    a part is no detection"""
    counted: bool
    """its rows are among `Parity.detections`"""


class _Compared(NamedTuple):
    """What is kept of a picture for the second pass."""

    name: str
    pairs: Pairs
    views: list[_View]


class _Picture(NamedTuple):
    """What is needed to run a picture, alone or in a batch: some MB with many classes, so that few are held."""

    image: NDArray[np.uint8]
    """the network input that the file's card asks for"""
    raw: RawOutputs
    """PyTorch's"""
    compared: _Compared


def measure_parity(
    path: Path,
    predictor: Predictor,
    open_device: Callable[[Path], Device],
    frames: Iterable[tuple[str, NDArray[np.uint8]]],
    all_points: onnx.ModelProto,
) -> Parity:
    """Compares everything that the file at `path` delivers with what `predictor` computes.

    On `frames` (name, uint8 (h, w, 3) BGR), a grid of them, and plain pictures; also in batches if the batch is free.

    `predictor` is the checkpoint's, `open_device` opens the runtime that users have, `all_points` is for `Probe`.
    Raises UserError for a file that cannot be run, where there are no frames, and where PyTorch finds nothing.
    """
    return _Gate(path, predictor, open_device(path), all_points).measure(frames)


class _Gate:
    """One run of the gate."""

    def __init__(self, path: Path, predictor: Predictor, device: Device, all_points: onnx.ModelProto) -> None:
        self.file, self.predictor, self.device = WrittenFile(path), predictor, device
        self.card = self.file.card()
        self.probe = Probe(path, self.card, all_points) if self.card.format == "detections" else None
        spread, sides = (0.0 if has else None for has in (self.card.has_spread, self.card.bins))
        self.parity = Parity(spread_px=spread, points_px=sides, probability=sides)
        self.compared: list[_Compared] = []

    def measure(self, frames: Iterable[tuple[str, NDArray[np.uint8]]]) -> Parity:
        parity, crowd = self.parity, Crowd()
        if tuple(self.device.class_names) != self.predictor.class_names:
            parity.unexplained.append(f"the device names the classes {', '.join(self.device.class_names)[:100]}")
        if self.device.card != self.card:
            parity.unexplained.append("the device reads another card than the file has")
        empty = self._empty_picture()
        last = empty
        for name, frame in frames:
            parity.images += 1
            crowd.add(frame)
            picture = self._frame(name, frame, counted=True)
            if self.file.free_batch:
                self._together([empty, picture] if last is empty else [empty, last, picture], turn=parity.images)
            last = picture
        if not parity.images:
            raise UserError("the export needs at least one image to compare on: give --images FOLDER")
        self._frame("a grid of the images", crowd.picture(self.card.input.hw), counted=False)
        self._judge()
        if not parity.detections:
            raise UserError(
                f"the checkpoint finds nothing above {self.card.selection.score} on {parity.images} images, so"
                " agreement of detections cannot be shown: train longer, or give --images FOLDER with objects;"
                " no file was written"
            )
        return parity

    def _empty_picture(self) -> _Picture:
        """Compares the plain pictures; returns one in which PyTorch finds nothing, if there is one."""
        plain = [self._frame(name, image, counted=False) for name, image in plain_pictures(self.card.input)]
        silent = [picture for picture in plain if not len(picture.compared.pairs)]
        self.parity.nothing_found = bool(silent)
        return (silent or plain)[0]

    def _frame(self, name: str, frame: NDArray[np.uint8], counted: bool) -> _Picture:
        """Runs a frame through the file, and through the device, which gets the frame as it is."""
        expected, placement = preprocess(frame, self.predictor.config.input)
        picture = self._picture(name, preprocess(frame, self.card.input)[0], expected)
        self._run([picture])
        rows = picture.compared.pairs.rows
        factors = np.array([placement.scale_x, placement.scale_y] * 2, dtype=np.float32)
        edge = np.array(placement.source_hw[::-1], dtype=np.float32) * factors[:2]
        visible = (np.minimum(rows.boxes[:, 2:], edge) - rows.boxes[:, :2]).min(axis=1)
        own = frame.copy()
        try:
            found = self.device(own)
        except _MISTAKES as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            raise UserError(f"the device cannot finish {name} ({reason}); no file was written") from error
        if not np.array_equal(own, frame):
            self.parity.unexplained.append(f"{name}: the device changes the picture that it is given")
        unit = np.float32(1) / factors
        picture.compared.views.append(_View(found, map_to_source(rows, placement), unit, visible, counted))
        return picture

    def _picture(self, name: str, image: NDArray[np.uint8], expected: NDArray[np.uint8]) -> _Picture:
        config = self.predictor.config
        raw, sides = self.predictor.raw_and_sides(expected) if self.card.bins else (self.predictor.raw(expected), None)
        pairs = possible_pairs(raw, sides, config.selection, config.input.hw, SCORE_TOLERANCE)
        self.compared.append(_Compared(name, pairs, []))
        return _Picture(image, raw, self.compared[-1])

    def _together(self, pictures: list[_Picture], turn: int) -> None:
        """Runs the pictures in one batch, each in every place by turns."""
        turn %= len(pictures)
        self._run(pictures[turn:] + pictures[:turn])

    def _run(self, pictures: list[_Picture]) -> None:
        card, place = self.card, ""
        for index, outputs in enumerate(self.file.run(np.stack([picture.image for picture in pictures]))):
            picture, compared = pictures[index], pictures[index].compared
            if len(pictures) > 1:
                place = f", place {index + 1} of a batch"
            breach = contract_breach(outputs, card)
            if breach:
                self.parity.unexplained.append(f"{compared.name}{place}: {breach}")
                continue
            if card.format == "raw":
                raw = RawOutputs(outputs["boxes"], outputs["scores"], outputs.get("spread"))
                self._all_points(picture.raw, raw)
                found = select(*raw, card.selection, card.input.hw)
            else:
                found = delivered_rows(outputs)
                if self.probe is not None and len(pictures) == 1:
                    self._all_points(picture.raw, self.probe(picture.image))
            everything = np.full(len(compared.pairs), np.inf, dtype=np.float32)
            compared.views.append(_View(found, compared.pairs.rows, np.ones(4, np.float32), everything, counted=False))

    def _all_points(self, ours: RawOutputs, theirs: RawOutputs) -> None:
        for name, a, b in zip(("box_px", "score", "spread_px"), ours, theirs, strict=True):
            if a is not None:
                differs = np.inf if b is None or a.shape != b.shape else np.abs(a - b).max()
                self.parity.saw(**{name: float(differs)})

    def _judge(self) -> None:
        """The second pass: the largest differences limit what rounding may decide."""
        for picture in self.compared:
            for view in picture.views:
                self._match(view)
        score, box = 10 * self.parity.score + 1e-6, 10 * self.parity.box_px + 1e-4
        slack = Slack(
            score if score <= SCORE_TOLERANCE else SCORE_TOLERANCE, box if box <= BOX_TOLERANCE else BOX_TOLERANCE
        )
        for picture in self.compared:
            state = decide(picture.pairs, self.predictor.config.selection, slack)
            for view in picture.views:
                self._judge_view(picture, view, state, slack)

    def _match(self, view: _View, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        pair, *largest = match_rows(view.found, view.pairs, view.unit, allowed)
        self.parity.saw(**dict(zip(("box_px", "spread_px", "score", "points_px", "probability"), largest, strict=True)))
        return pair

    def _judge_view(self, picture: _Compared, view: _View, state: NDArray[np.int64], slack: Slack) -> None:
        parity, found = self.parity, view.found
        state = np.where(
            view.visible < -slack.box, NO, np.where(view.visible > slack.box, state, np.minimum(state, MAYBE))
        )
        pair = self._match(view, state != NO)
        has_row = np.zeros(len(state), dtype=bool)
        has_row[pair[pair >= 0]] = True
        selected = picture.pairs.selected & (view.visible > 0)
        wrong = [(found, row, "the .onnx") for row in range(len(found)) if pair[row] < 0 or state[pair[row]] == NO]
        wrong += [(view.pairs, int(row), "PyTorch") for row in np.flatnonzero((state == YES) & ~has_row)]
        parity.unexplained += [_alone(picture.name, *entry) for entry in wrong]
        if (np.diff(found.scores) > 0).any():
            parity.unexplained.append(f"{picture.name}: the detections are not sorted best first")
        if view.counted:
            parity.detections += int(selected.sum())
            parity.matched += int((selected & has_row).sum())
            for row in np.flatnonzero((state == MAYBE) & (selected != has_row)).tolist():
                parity.ties += 1
                parity.tie_rows.append(
                    _alone(picture.name, view.pairs, row, "PyTorch" if selected[row] else "the .onnx")
                )


def _alone(name: str, side: Detections, row: int, whose: str) -> str:
    return f"{name}: only {whose} has label {side.labels[row]} score {side.scores[row]:.4f}"
