"""What a report is made of, all of it measured or read from what was written."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from nanogfl.contract.detections import Detect, Detections
from nanogfl.errors import UserError
from nanogfl.machine.timing import Speedup, Timing, speedup
from nanogfl_export.export import Exported
from nanogfl_export.gate.rows import match_rows
from nanogfl_export.onnx_file import write_file

SHOWN_IMAGES = 3
SHOWN_SCORE = 0.4  # what a client shows by default, too
SHOWN_ROWS = 5  # where nothing reaches that score: the best few

Frames = Iterable[tuple[str, NDArray[np.uint8]]]
Timed = Callable[[Mapping[str, Callable[[], object]]], dict[str, Timing]]
"""calls -> what each costs: `contract.timing.measure`"""


@dataclass(frozen=True)
class Shown:
    """One picture as both sides see it; detections and differences in its own pixels."""

    name: str
    frame: NDArray[np.uint8]
    """(h, w, 3) BGR"""
    pytorch: Detections
    onnx: Detections
    matched: int
    """of PyTorch's detections, those with a partner in the file's"""
    box_px: float
    """largest difference of a side between partners"""
    score: float
    """likewise of a score"""

    def drawn(self) -> tuple[Detections, Detections]:
        """PyTorch's and the file's detections that a client shows; the best few where that is none."""
        shown = self.pytorch.above(SHOWN_SCORE), self.onnx.above(SHOWN_SCORE)
        if any(len(side) for side in shown):
            return shown
        return _first(self.pytorch, SHOWN_ROWS), _first(self.onnx, SHOWN_ROWS)


@dataclass(frozen=True)
class Latency:
    """A frame to its detections: resize, network, selection."""

    machine: str
    """processor and threads"""
    frame: str
    frame_hw: tuple[int, int]
    written: Timing
    plain: Timing | None
    """None where nothing was rewritten"""

    @property
    def gain(self) -> Speedup | None:
        """Of the file over the graph without rewrites, round by round."""
        return None if self.plain is None else speedup(self.written, self.plain)


@dataclass(frozen=True)
class Facts:
    exported: Exported
    file_bytes: int
    file_sha256: str
    day: date
    shown: tuple[Shown, ...]
    """most detections first"""
    latency: Latency


def gather_facts(
    exported: Exported,
    pytorch: Detect,
    frames: Frames,
    *,
    open_device: Callable[[Path], Detect],
    machine: str,
    timed: Timed,
) -> Facts:
    content = exported.path.read_bytes()
    shown = _choose(pytorch, open_device(exported.path), frames)
    return Facts(
        exported=exported,
        file_bytes=len(content),
        file_sha256=hashlib.sha256(content).hexdigest(),
        day=date.today(),
        shown=shown,
        latency=_measure_latency(exported, shown[0], open_device, machine, timed),
    )


def rewritten(exported: Exported) -> bool:
    return exported.plain is not exported.model


def count_operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def operator_rows(exported: Exported) -> list[tuple[str, int, int]]:
    """(operator, nodes before the rewrites, nodes after), most first."""
    before, after = count_operators(exported.plain), count_operators(exported.model)
    rows = [(name, before[name], after[name]) for name in before.keys() | after.keys()]
    return sorted(rows, key=lambda row: (-max(row[1:]), row[0]))


def compare_sides(name: str, frame: NDArray[np.uint8], ours: Detections, theirs: Detections) -> Shown:
    partner = match_rows(ours, theirs).pair
    paired = partner >= 0
    partner = partner[paired]
    return Shown(
        name=name,
        frame=frame,
        pytorch=ours,
        onnx=theirs,
        matched=len(partner),
        box_px=float(np.abs(ours.boxes[paired] - theirs.boxes[partner]).max(initial=0.0)),
        score=float(np.abs(ours.scores[paired] - theirs.scores[partner]).max(initial=0.0)),
    )


def _first(detections: Detections, rows: int) -> Detections:
    return detections.take(np.arange(len(detections))[:rows])


def _choose(pytorch: Detect, device: Detect, frames: Frames) -> tuple[Shown, ...]:
    """The pictures with the most detections that a client shows. Only as many are held as are kept."""
    best: list[tuple[int, float, Shown]] = []
    for name, frame in frames:
        ours = pytorch(frame)
        seen = compare_sides(name, frame, ours, device(frame))
        best.append((len(ours.above(SHOWN_SCORE)), float(ours.scores.max(initial=0.0)), seen))
        best.sort(key=lambda entry: entry[:2], reverse=True)
        del best[SHOWN_IMAGES:]
    if not best:
        raise UserError("a report needs at least one picture to show: give --images FOLDER")
    return tuple(seen for *_, seen in best)


def _measure_latency(
    exported: Exported, shown: Shown, open_device: Callable[[Path], Detect], machine: str, timed: Timed
) -> Latency:
    """Both graphs in turns on one real picture, opened as users open them."""
    frame = shown.frame
    written, plain = open_device(exported.path), None
    calls: dict[str, Callable[[], object]] = {"written": lambda: written(frame)}
    with tempfile.TemporaryDirectory() as folder:
        if rewritten(exported):
            path = Path(folder) / "plain.onnx"
            model = onnx.ModelProto()
            model.CopyFrom(exported.plain)  # writing sets the metadata
            write_file(model, exported.card, path)
            plain = open_device(path)
            calls["plain"] = lambda: plain(frame)
        timings = timed(calls)
    return Latency(machine, shown.name, (frame.shape[0], frame.shape[1]), timings["written"], timings.get("plain"))
