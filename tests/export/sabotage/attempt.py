"""An export in which one thing is wrong, and what came of it."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import onnx
from numpy.typing import NDArray

from nanogfl.contract.card import ModelCard
from nanogfl.contract.detections import Detect, Detections
from nanogfl.errors import UserError
from nanogfl.model.predictor import Predictor, RawOutputs, load_predictor
from nanogfl_deploy.runtime import Detector
from nanogfl_export import export
from nanogfl_export.gate import card_check
from nanogfl_export.onnx_file import RAW_OPERATORS
from tests.export.sabotage.subject import Frames, plain_inputs, subject_checkpoints, subject_frames
from tests.export.sabotage.surgery import DoesNotApplyError, Surgery, own

FORMATS: dict[str, dict[str, Any]] = {
    "detections": {},
    "plain": {"rewrite": False},
    "raw": {"output_format": "raw"},
    "distributions": {"distributions": True},
    "dynamic": {"batch": None},
    "plain dynamic": {"batch": None, "rewrite": False},
    "raw dynamic": {"batch": None, "output_format": "raw"},
    "letterbox": {},
}
"""what an export may be asked for; letterbox: of the checkpoint whose pictures are padded"""
IN_ROWS = ("detections", "plain", "distributions", "dynamic")
EVERY = (*IN_ROWS, "raw")

WITHIN, UNSEEN = "within the tolerance", "in no picture that is tried"

Kind = Literal["graph", "file", "card", "device"]
Seam = Literal["made", "written", "last written", "file"]
OpenDevice = Callable[[Path], Detect]


@dataclass(frozen=True)
class Corruption:
    """One thing that is wrong. `formats`: those it applies to, the first one for a quick run."""

    name: str
    kind: Kind
    formats: tuple[str, ...]
    graph: Callable[[Surgery], None] | None = None
    """changes the graph that is written"""
    card: Callable[[ModelCard], ModelCard] | None = None
    device: Callable[[], AbstractContextManager[OpenDevice]] | None = None
    """the runtime that the gate is given"""
    seam: Seam = "made"
    """where it goes wrong: as graph or card are made; whenever the file is written; when it is written with the figures
    of the comparison, for which it was right; in the file that was written"""
    reported: str = ""
    """why it is reported, and not asserted that it is refused"""


def of_graph(
    formats: tuple[str, ...],
    cuts: dict[str, Callable[[Surgery], None]],
    *,
    seam: Seam = "made",
    reported: str = "",
    kind: Kind = "graph",
) -> list[Corruption]:
    """One of each cut in the graph."""
    return [Corruption(name, kind, formats, graph=cut, seam=seam, reported=reported) for name, cut in cuts.items()]


def of_card(
    formats: tuple[str, ...], changes: dict[str, Callable[[ModelCard], ModelCard]], *, seam: Seam = "made"
) -> list[Corruption]:
    return [Corruption(name, "card", formats, card=change, seam=seam) for name, change in changes.items()]


def of_device(
    formats: tuple[str, ...], devices: dict[str, Callable[[], AbstractContextManager[OpenDevice]]]
) -> list[Corruption]:
    return [Corruption(name, "device", formats, device=device) for name, device in devices.items()]


@dataclass(frozen=True)
class Outcome:
    refused: bool
    reason: str
    left: list[str] = field(default_factory=list)
    """files in the output's folder"""

    @property
    def verdict(self) -> str:
        return "refused" if self.refused else "passed" if not self.reason else self.reason.split(":")[0]


class Workshop:
    """Exports of the subject. What an export makes before it writes is made once, and handed out."""

    def __init__(self, folder: Path) -> None:
        self.checkpoints = subject_checkpoints(folder)
        self.frames: Frames = subject_frames()
        self._made: dict[tuple[str, int, str], Any] = {}

    def control(self, output: Path, format_name: str) -> export.Exported:
        with self._replayed(format_name):
            return self._export(output, format_name, Detector)

    def attempt(self, corruption: Corruption, output: Path, format_name: str) -> Outcome:
        """`output` in an empty folder."""
        reached: Counter[str] = Counter()
        with ExitStack() as stack:
            stack.enter_context(self._replayed(format_name))
            stack.enter_context(_wrong_when_made(corruption, reached))
            stack.enter_context(_wrong_when_written(corruption, reached))
            open_device: OpenDevice = Detector
            if corruption.device:
                open_device = stack.enter_context(corruption.device())
                reached["device"] += 1
            try:
                self._export(output, format_name, open_device)
                outcome = Outcome(False, "")
            except UserError as error:
                outcome = Outcome(True, str(error))
            except DoesNotApplyError:
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, it is no sentence
                outcome = Outcome(False, f"{type(error).__name__}: {error}")
        if not reached:
            raise DoesNotApplyError(f"{corruption.name}: the export never came by the place where it is corrupted")
        return Outcome(outcome.refused, outcome.reason, sorted(path.name for path in output.parent.iterdir()))

    def found(self) -> list[Detections]:
        """PyTorch's detections in the pictures."""
        predictor = load_predictor(self.checkpoints["stretch"])
        return [predictor(frame) for _, frame in self.frames]

    def found_in_plain(self) -> int:
        predictor = load_predictor(self.checkpoints["stretch"])
        raw = predictor.raw_batch(np.stack(plain_inputs()))
        return sum(len(predictor.select(picture)) for picture in raw)

    def _export(self, output: Path, format_name: str, open_device: OpenDevice) -> export.Exported:
        checkpoint = self.checkpoints["letterbox" if format_name == "letterbox" else "stretch"]
        return export.export_checkpoint(
            checkpoint,
            output,
            frames=self.frames,
            frames_origin="drawn pictures",
            open_device=open_device,
            **FORMATS[format_name],
        )

    @contextlib.contextmanager
    def _replayed(self, format_name: str) -> Iterator[None]:
        """The n-th call of each of these in an export gives what it gave the first time."""
        options = FORMATS[format_name]
        calls: Counter[str] = Counter()

        def replay(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
            def made(*arguments: Any, **keywords: Any) -> Any:
                asked: Any = {"batch": options.get("batch", 1)}  # of the network alone
                if name in ("assemble", "all_points_model"):
                    asked = options
                elif name == "load_checkpoint":
                    asked = arguments
                key = (name, calls[name], str(asked))
                calls[name] += 1
                if key not in self._made:
                    self._made[key] = make(*arguments, **keywords)
                value = self._made[key]
                return own(value) if isinstance(value, onnx.ModelProto) else value

            return made

        right_raw = Predictor.raw_batch

        def raw_batch(predictor: Predictor, images: NDArray[np.uint8]) -> list[RawOutputs]:
            """PyTorch's answers, of which there is one for each picture: both checkpoints have the same weights."""
            key = ("raw_batch", 0, hashlib.sha256(images.tobytes()).hexdigest() + str(images.shape))
            if key not in self._made:
                self._made[key] = right_raw(predictor, images)
            answers: list[RawOutputs] = self._made[key]
            return [RawOutputs(*(None if part is None else part.copy() for part in answer)) for answer in answers]

        slow = ("load_checkpoint", "count_complexity", "trace_network", "trace_row_decode", "all_points_model")
        slow += ("rewrite_network", "rewrite_decode", "assemble")
        with ExitStack() as stack:
            for module in (export, card_check):
                for name in slow:
                    if hasattr(module, name):
                        stack.enter_context(mock.patch.object(module, name, replay(name, getattr(module, name))))
            stack.enter_context(mock.patch.object(Predictor, "raw_batch", raw_batch))
            yield


@contextlib.contextmanager
def _wrong_when_made(corruption: Corruption, reached: Counter[str]) -> Iterator[None]:
    if corruption.seam != "made":
        yield
        return
    right_assemble, right_card = export.assemble, export.ModelCard

    def assemble(*arguments: Any, **keywords: Any) -> onnx.ModelProto:
        model = right_assemble(*arguments, **keywords)
        if corruption.graph and not reached["graph"]:  # the first is the one that is written
            corruption.graph(Surgery(model))
            if corruption.kind == "graph":
                _demand_valid(model)
            reached["graph"] += 1
        return model

    class WrongCard(right_card):  # type: ignore[valid-type, misc]
        def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
            card = right_card(*arguments, **keywords)
            if corruption.card:
                card = _changed(corruption.card, card)
                reached["card"] += 1
            return card

    with mock.patch.object(export, "assemble", assemble), mock.patch.object(export, "ModelCard", WrongCard):
        yield


@contextlib.contextmanager
def _wrong_when_written(corruption: Corruption, reached: Counter[str]) -> Iterator[None]:
    if corruption.seam == "made":
        yield
        return
    right_write = export.write_file

    def write_file(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
        if corruption.seam == "file":
            right_write(model, card, path)
            written = onnx.load_model(path)
            assert corruption.graph
            corruption.graph(Surgery(written))
            path.write_bytes(written.SerializeToString())
            reached["file"] += 1
            return
        model = own(model)
        if corruption.seam == "written" or card.parity:
            if corruption.graph:
                corruption.graph(Surgery(model))
            card = _changed(corruption.card, card) if corruption.card else card
            reached["written"] += 1
        right_write(model, card, path)

    with mock.patch.object(export, "write_file", write_file):
        yield


def _demand_valid(model: onnx.ModelProto) -> None:
    """A graph is to be refused for what it computes, not for being none."""
    onnx.checker.check_model(model, full_check=True)
    foreign = {node.op_type for node in model.graph.node} - RAW_OPERATORS
    if foreign and "labels" not in {value.name for value in model.graph.output}:
        raise DoesNotApplyError(f"a raw file has no {', '.join(sorted(foreign))}")


def _changed(corrupt: Callable[[ModelCard], ModelCard], card: ModelCard) -> ModelCard:
    wrong = corrupt(card)
    if wrong == card:
        raise DoesNotApplyError("the card is as it was")
    return wrong
