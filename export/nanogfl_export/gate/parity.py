"""The gate: what the written file delivers against the unmodified PyTorch detector, on real images, row by row."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from nanogfl.contract.card import ModelCard
from nanogfl.contract.detections import Detections, map_to_source, select
from nanogfl.contract.preprocess import preprocess
from nanogfl.errors import UserError
from nanogfl.model.predictor import Predictor, RawOutputs
from nanogfl_export.gate.decisions import MAYBE, NO, YES, Pairs, Slack, decide, possible_pairs
from nanogfl_export.gate.pictures import Crowd, plain_pictures
from nanogfl_export.gate.probe import Probe
from nanogfl_export.gate.rows import contract_breach, delivered_rows, match_rows
from nanogfl_export.gate.tolerances import BOX_TOLERANCE, SCORE_TOLERANCE, TIE_LEAST, TIE_SHARE
from nanogfl_export.gate.written_file import WrittenFile

_MISTAKES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""what the code of a device may raise on rows that it does not expect"""


class Device(Protocol):
    """The runtime that users have, opened on the written file."""

    class_names: tuple[str, ...]
    card: ModelCard

    def __call__(self, frame: NDArray[np.uint8], /) -> Detections: ...


@dataclass
class Parity:
    """The largest differences over all pictures."""

    images: int = 0
    """those that were given; a grid of them and one without any object are compared beside them"""
    box_px: float = 0.0
    spread_px: float | None = None
    """None where boxes have no spread"""
    score: float = 0.0
    points_px: float | None = None
    """of the places of a distribution's bins; None, like `probability`, where the file delivers no distributions"""
    probability: float | None = None
    detections: int = 0
    """PyTorch's on the images"""
    matched: int = 0
    """of them, those that the device delivers, too"""
    ties: int = 0
    """rows that only one of the two delivers, as rounding decides"""
    nothing_found: bool = False
    """a picture in which PyTorch finds nothing was among them"""
    unexplained: list[str] = field(default_factory=list)
    tie_rows: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For the card. (No file is written if a row is unexplained.)"""
        return {key: value for key, value in asdict(self).items() if key != "unexplained" and value is not None}

    def __str__(self) -> str:
        parts = [f"boxes {self.box_px:.2g} px"]
        parts += [] if self.spread_px is None else [f"spread {self.spread_px:.2g} px"]
        parts += [f"scores {self.score:.2g}"]
        if self.probability is not None:
            parts += [f"probabilities {self.probability:.2g}", f"their places {self.points_px:.2g} px"]
        return (
            f"{self.images} images, largest differences: {', '.join(parts)};"
            f" {self.matched} of {self.detections} detections matched, {self.ties} ties"
        )

    def require(self) -> "Parity":
        """Raises UserError that says by how much the file differs."""
        pixels = [self.box_px, self.spread_px, self.points_px]
        shares = [self.score, self.probability]
        # written so that NaN fails, too
        near = all(value <= BOX_TOLERANCE for value in pixels if value is not None)
        if not (near and all(value <= SCORE_TOLERANCE for value in shares if value is not None)):
            raise UserError(
                f"the .onnx does not agree with PyTorch ({self}; allowed: {BOX_TOLERANCE} px and {SCORE_TOLERANCE});"
                " no file was written"
            )
        if self.unexplained or self.ties > self.allowed_ties:
            rows = self.unexplained or self.tie_rows
            raise UserError(
                f"the .onnx detects differently from PyTorch ({self}; {'; '.join(rows[:3])}); no file was written"
            )
        return self

    @property
    def allowed_ties(self) -> int:
        return max(TIE_LEAST, int(TIE_SHARE * self.detections))

    def saw(self, **measured: float) -> None:
        for name, value in measured.items():
            so_far = getattr(self, name)
            if so_far is not None or value != 0:  # None: the model has none, which a difference contradicts
                setattr(self, name, float(np.maximum(so_far or 0.0, value)))  # np.maximum hands NaN on


class _View(NamedTuple):
    """The detections that one client got for a picture, and PyTorch's pairs in the same pixels."""

    found: Detections
    pairs: Detections
    unit: NDArray[np.float32]
    """(4,) these pixels per pixel of the network input"""
    visible: NDArray[np.float32]
    """(P,) the shorter side of what these pixels show of each box, in pixels of the network input; a box that shows
    none is no detection"""
    counted: bool
    """its rows are among `Parity.detections`"""


class _Picture(NamedTuple):
    name: str
    image: NDArray[np.uint8]
    """the network input that the file's card asks for"""
    raw: RawOutputs
    """PyTorch's"""
    pairs: Pairs
    views: list[_View]


def measure_parity(
    path: Path,
    predictor: Predictor,
    open_device: Callable[[Path], Device],
    frames: Iterable[tuple[str, NDArray[np.uint8]]],
    all_points: onnx.ModelProto,
) -> Parity:
    """Everything that the file at `path` delivers, by what its own card says, on `frames` (name, BGR picture), on a
    grid of them and on an empty picture; in batches as well where its batch is free.

    `predictor` is the checkpoint's, `open_device` the runtime that users have, `all_points` what `Probe` needs.
    Raises UserError for a file that cannot be run.
    """
    return _Gate(path, predictor, open_device(path), all_points).measure(frames)


class _Gate:
    def __init__(self, path: Path, predictor: Predictor, device: Device, all_points: onnx.ModelProto) -> None:
        self.file, self.predictor, self.device = WrittenFile(path), predictor, device
        self.card = self.file.card()
        self.probe = Probe(path, self.card, all_points) if self.card.format == "detections" else None
        spread, sides = (0.0 if has else None for has in (self.card.has_spread, self.card.bins))
        self.parity = Parity(spread_px=spread, points_px=sides, probability=sides)
        self.pictures: list[_Picture] = []

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
        """The plain pictures; of them one in which PyTorch finds nothing, if there is one."""
        plain = [self._frame(name, image, counted=False) for name, image in plain_pictures(self.card.input)]
        silent = [picture for picture in plain if not len(picture.pairs)]
        self.parity.nothing_found = bool(silent)
        return (silent or plain)[0]

    def _frame(self, name: str, frame: NDArray[np.uint8], counted: bool) -> _Picture:
        """Through the file as through the device, which gets the frame as it is."""
        expected, placement = preprocess(frame, self.predictor.config.input)
        picture = self._picture(name, preprocess(frame, self.card.input)[0], expected)
        self._run([picture])
        rows = picture.pairs.rows
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
        picture.views.append(_View(found, map_to_source(rows, placement), unit, visible, counted))
        return picture

    def _picture(self, name: str, image: NDArray[np.uint8], expected: NDArray[np.uint8]) -> _Picture:
        config = self.predictor.config
        raw, sides = self.predictor.raw_and_sides(expected) if self.card.bins else (self.predictor.raw(expected), None)
        pairs = possible_pairs(raw, sides, config.selection, config.input.hw, SCORE_TOLERANCE)
        picture = _Picture(name, image, raw, pairs, [])
        self.pictures.append(picture)
        return picture

    def _together(self, pictures: list[_Picture], turn: int) -> None:
        """In one batch, each picture in every place by turns."""
        turn %= len(pictures)
        self._run(pictures[turn:] + pictures[:turn])

    def _run(self, pictures: list[_Picture]) -> None:
        card, place = self.card, ""
        for index, outputs in enumerate(self.file.run(np.stack([picture.image for picture in pictures]))):
            picture = pictures[index]
            if len(pictures) > 1:
                place = f", place {index + 1} of a batch"
            breach = contract_breach(outputs, card)
            if breach:
                self.parity.unexplained.append(f"{picture.name}{place}: {breach}")
                continue
            if card.format == "raw":
                raw = RawOutputs(outputs["boxes"], outputs["scores"], outputs.get("spread"))
                self._all_points(picture.raw, raw)
                found = select(*raw, card.selection, card.input.hw)
            else:
                found = delivered_rows(outputs)
                if self.probe is not None and len(pictures) == 1:
                    self._all_points(picture.raw, self.probe(picture.image))
            everything = np.full(len(picture.pairs), np.inf, dtype=np.float32)
            picture.views.append(_View(found, picture.pairs.rows, np.ones(4, np.float32), everything, counted=False))

    def _all_points(self, ours: RawOutputs, theirs: RawOutputs) -> None:
        for name, a, b in zip(("box_px", "score", "spread_px"), ours, theirs, strict=True):
            if a is not None:
                differs = np.inf if b is None or a.shape != b.shape else np.abs(a - b).max()
                self.parity.saw(**{name: float(differs)})

    def _judge(self) -> None:
        """Now that the largest differences are known, what rounding may decide is known, too."""
        for picture in self.pictures:
            for view in picture.views:
                self._match(view)
        score, box = 10 * self.parity.score + 1e-6, 10 * self.parity.box_px + 1e-4
        slack = Slack(
            score if score <= SCORE_TOLERANCE else SCORE_TOLERANCE, box if box <= BOX_TOLERANCE else BOX_TOLERANCE
        )
        for picture in self.pictures:
            state = decide(picture.pairs, self.predictor.config.selection, slack)
            for view in picture.views:
                self._judge_view(picture, view, state, slack)

    def _match(self, view: _View, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        pair, *largest = match_rows(view.found, view.pairs, view.unit, allowed)
        self.parity.saw(**dict(zip(("box_px", "spread_px", "score", "points_px", "probability"), largest, strict=True)))
        return pair

    def _judge_view(self, picture: _Picture, view: _View, state: NDArray[np.int64], slack: Slack) -> None:
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
