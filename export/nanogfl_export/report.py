"""`nanogfl export --report`: one table of measurements, and one picture with the detections of both sides."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from nanogfl.contract.detections import Detect, Detections
from nanogfl.contract.shown_score import SHOWN_SCORE
from nanogfl.draw.boxes import draw_detections, tile
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.machine.timing import Timing, measure, speedup
from nanogfl_export.export import Exported
from nanogfl_export.gate.tolerances import BOX_TOLERANCE, SCORE_TOLERANCE
from nanogfl_export.onnx_file import write_file

SHOWN_PICTURES = 3
SHOWN_ROWS = 5
"""drawn where no detection reaches SHOWN_SCORE"""
_SIDE = 800
"""pixels of a picture's longer side in the report"""
_LISTED_CLASSES = 12

Frames = Iterable[tuple[str, NDArray[np.uint8]]]
Timed = Callable[[Mapping[str, Callable[[], object]]], dict[str, Timing]]
"""calls -> their timings, as `nanogfl.machine.timing.measure`"""


@dataclass(frozen=True)
class Report:
    """The files of a report."""

    page: Path
    picture: Path


@dataclass(frozen=True)
class Shown:
    """One picture uint8 (h, w, 3) BGR with the detections of both sides in its pixels."""

    name: str
    frame: NDArray[np.uint8]
    pytorch: Detections
    onnx: Detections

    def drawn(self) -> tuple[Detections, Detections]:
        """PyTorch's and the file's detections above SHOWN_SCORE; the best SHOWN_ROWS where there are none."""
        shown = self.pytorch.above(SHOWN_SCORE), self.onnx.above(SHOWN_SCORE)
        if any(len(side) for side in shown):
            return shown
        ours, theirs = (side.take(np.arange(min(len(side), SHOWN_ROWS))) for side in (self.pytorch, self.onnx))
        return ours, theirs


def report_paths(output: Path) -> Report:
    """`bccd.onnx` -> `bccd_report.md` and `bccd_report.png` beside it."""
    return Report(*(output.with_name(f"{output.stem}_report{suffix}") for suffix in (".md", ".png")))


def write_report(
    exported: Exported,
    pytorch: Detect,
    frames: Frames,
    *,
    open_device: Callable[[Path], Detect],
    machine: str,
    timed: Timed = measure,
) -> Report:
    """Writes both files or neither; an earlier report is removed in any case, since its .onnx was replaced.

    `frames` (name, BGR picture): what the gate compared on. `machine` names the processor and the threads that
    `open_device(path)` uses. Raises UserError; the .onnx stays.
    """
    report = report_paths(exported.path)
    try:
        report.page.unlink(missing_ok=True)
        report.picture.unlink(missing_ok=True)
        exported.parity.require()
        shown = _choose(pytorch, open_device(exported.path), frames)
        timings = _time_both_graphs(exported, shown[0].frame, open_device, timed)
        page = _page(exported, report.picture.name, timings, f"{shown[0].name}, on {machine}")
        picture = draw_both_sides(shown, exported.card.classes)
        with atomic_path(report.picture) as temporary_picture, atomic_path(report.page) as temporary_page:
            temporary_picture.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
            temporary_page.write_text(page, encoding="utf-8")
    except (UserError, OSError) as error:
        raise UserError(f"{exported.path} is written and verified, but not its report: {error}") from error
    return report


def draw_both_sides(shown: Sequence[Shown], class_names: Sequence[str]) -> NDArray[np.uint8]:
    """One row per picture, PyTorch on the left, the file on the right -> uint8 (h, w, 3) BGR."""
    pictures, titles = [], []
    for one in shown:
        height, width = one.frame.shape[:2]
        scale = _SIDE / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        frame = np.asarray(cv2.resize(one.frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        factors = np.array([size[0] / width, size[1] / height] * 2, dtype=np.float32)
        for title, side in zip(("PyTorch", ".onnx"), one.drawn(), strict=True):
            scaled = Detections(side.boxes * factors, side.scores, side.labels)
            pictures.append(draw_detections(frame, scaled, class_names))
            titles.append(f"{title}: {len(side)} in {one.name}")
    return tile(pictures, columns=2, titles=titles)


def _choose(pytorch: Detect, device: Detect, frames: Frames) -> list[Shown]:
    """The pictures with the most detections above SHOWN_SCORE. Only these are held in memory."""
    best: list[tuple[int, float, Shown]] = []
    for name, frame in frames:
        ours = pytorch(frame)
        count, highest = len(ours.above(SHOWN_SCORE)), float(ours.scores.max(initial=0.0))
        best.append((count, highest, Shown(name, frame, ours, device(frame))))
        best.sort(key=lambda entry: entry[:2], reverse=True)
        del best[SHOWN_PICTURES:]
    if not best:
        raise UserError("a report needs at least one picture to show: give --images FOLDER")
    return [shown for *_, shown in best]


def _time_both_graphs(
    exported: Exported, frame: NDArray[np.uint8], open_device: Callable[[Path], Detect], timed: Timed
) -> dict[str, Timing]:
    """`written` and, where something was rewritten, `plain`: from frame to detections, in turns."""
    written = open_device(exported.path)
    calls: dict[str, Callable[[], object]] = {"written": lambda: written(frame)}
    with tempfile.TemporaryDirectory() as folder:
        if exported.plain is not exported.model:
            path = Path(folder) / "plain.onnx"
            model = onnx.ModelProto()
            model.CopyFrom(exported.plain)  # writing sets the metadata
            write_file(model, exported.card, path)
            plain = open_device(path)
            calls["plain"] = lambda: plain(frame)
        return timed(calls)


def _page(exported: Exported, picture: str, timings: Mapping[str, Timing], timed_on: str) -> str:
    parity, source = exported.parity, exported.card.source
    versions = ", ".join(f"{name} {source[name]}" for name in ("nanogfl", "torch", "onnx", "onnxruntime"))
    rows = [*_agreement(exported), *_speed(exported, timings), *_about(exported)]
    parts = [
        f"# {exported.path.name}: report of its export",
        f"**The file agrees with PyTorch** on {_cell(exported.card.parity['on'])}. Written"
        f" {date.today().isoformat()} with {versions}; timed from frame to detections on {_cell(timed_on)}.",
        "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows),
        f"![The same pictures detected by PyTorch and by the file]({quote(picture)})",
    ]
    if parity.tie_rows:
        parts.append("Decided by a tie, which rounding may break either way:")
        parts.append("\n".join(f"- {_cell(row)}" for row in parity.tie_rows))
    return "\n\n".join(parts) + "\n"


def _agreement(exported: Exported) -> Iterator[tuple[str, str, str]]:
    parity = exported.parity
    yield "", "the file", "allowed"
    yield "---", "---", "---"
    yield "pictures compared", f"{parity.images}", ""
    for name, value in (("boxes", parity.box_px), ("spread", parity.spread_px)):
        if value is not None:
            yield f"{name}, largest difference", f"{value:.3g} px", f"{BOX_TOLERANCE} px"
    for name, value in (("scores", parity.score), ("probabilities", parity.probability)):
        if value is not None:
            yield f"{name}, largest difference", f"{value:.3g}", f"{SCORE_TOLERANCE}"
    yield "detections matched, one to one", f"{parity.matched} of {parity.detections}", "all but ties"
    yield "decided by a tie", f"{parity.ties}", f"{parity.allowed_ties}"


def _speed(exported: Exported, timings: Mapping[str, Timing]) -> Iterator[tuple[str, str, str]]:
    nodes, written = len(exported.model.graph.node), timings["written"]
    if (plain := timings.get("plain")) is None:
        yield "nodes", f"{nodes}", "written without rewrites"
        yield "latency p50, p95, min", _milliseconds(written), ""
        return
    gain = speedup(written, plain)
    yield "nodes", f"{nodes}", f"without rewrites: {len(exported.plain.graph.node)}"
    yield "latency p50, p95, min", _milliseconds(written), f"without rewrites: {_milliseconds(plain)}"
    yield "times as fast as without rewrites", f"{gain.p50:.2f} ({gain.q25:.2f}-{gain.q75:.2f})", ""


def _milliseconds(timing: Timing) -> str:
    return f"{timing.p50:.2f}, {timing.p95:.2f}, {timing.min:.2f} ms"


def _about(exported: Exported) -> Iterator[tuple[str, str, str]]:
    card, content = exported.card, exported.path.read_bytes()
    (height, width), selection = card.input.hw, card.selection
    more = len(card.classes) - _LISTED_CLASSES
    names = ", ".join(card.classes[:_LISTED_CLASSES]) + (f" and {more} more" if more > 0 else "")
    yield "size", f"{len(content) / 1e6:.2f} MB ({len(content)} bytes)", ""
    yield "SHA-256", f"`{hashlib.sha256(content).hexdigest()}`", ""
    yield "checkpoint's SHA-256", f"`{card.source['checkpoint_sha256']}`", ""
    yield "classes", f"{len(card.classes)}: {names}", ""
    yield "input", f"{height} x {width} (height x width), {card.input.resize}", ""
    limits = f"score above {selection.score}, suppression at IoU {selection.iou}, at most {selection.keep}"
    yield "format", f"{card.format}; {limits}", ""


def _cell(text: str) -> str:
    """Names from elsewhere, without what would end a table's cell or its line."""
    return " ".join(text.split()).replace("|", "\\|")
