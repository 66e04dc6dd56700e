"""The report's picture: what both sides detect, side by side, and bars for operators and latency. OpenCV alone."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections
from nanogfl.draw.boxes import Colour, draw_detections
from nanogfl.machine.timing import Timing
from nanogfl_export.gate.tolerances import BOX_TOLERANCE, SCORE_TOLERANCE
from nanogfl_export.report.bars import AFTER, BEFORE, MUTED, PAPER, Bar, draw_bars, write
from nanogfl_export.report.facts import SHOWN_SCORE, Facts, Shown, operator_rows, rewritten

WIDTH = 1640
_MARGIN, _GAP = 32, 24
_CELL = (WIDTH - 2 * _MARGIN - _GAP) // 2
_CELL_HEIGHT = 560  # a tall picture is made this high
_MOST_OPERATORS = 14

Image = NDArray[np.uint8]


def compose_picture(facts: Facts) -> Image:
    """-> uint8 (h, WIDTH, 3) BGR."""
    rows = [_header(facts)]
    for shown in facts.shown:
        rows.append(_pair(shown, facts.exported.card.classes))
    rows.append(_charts(facts))
    return np.concatenate(rows)


def halves(shown: Shown, class_names: Sequence[str]) -> tuple[Image, Image]:
    """PyTorch's and the file's detections on the picture, scaled so that their labels can be read."""
    height, width = shown.frame.shape[:2]
    scale = min(_CELL / width, _CELL_HEIGHT / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smaller = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    frame = np.asarray(cv2.resize(shown.frame, size, interpolation=smaller), dtype=np.uint8)
    factors = np.array([size[0] / width, size[1] / height] * 2, dtype=np.float32)
    ours, theirs = (Detections(side.boxes * factors, side.scores, side.labels) for side in shown.drawn())
    return draw_detections(frame, ours, class_names), draw_detections(frame, theirs, class_names)


def _header(facts: Facts) -> Image:
    parity, card = facts.exported.parity, facts.exported.card
    sheet = _paper(118)
    write(sheet, facts.exported.path.name, (_MARGIN, 52), 24, bold=True, room=WIDTH - 2 * _MARGIN)
    spread = "" if parity.spread_px is None else f" spread within {parity.spread_px:.2g} px,"
    line = (
        f"agrees with PyTorch on {parity.images} pictures: {parity.matched} of {parity.detections} detections the same,"
        f" boxes within {parity.box_px:.2g} px,{spread} scores within"
        f" {parity.score:.2g};  {len(card.classes)} classes, input {card.input.hw[0]} x {card.input.hw[1]}"
    )
    write(sheet, line, (_MARGIN, 88), 15, MUTED, room=WIDTH - 2 * _MARGIN)
    return sheet


def _pair(shown: Shown, class_names: Sequence[str]) -> Image:
    left, right = halves(shown, class_names)
    ours, theirs = shown.drawn()
    limit = f"above {SHOWN_SCORE:g}" if (ours.scores >= SHOWN_SCORE).any() else f"(none reaches {SHOWN_SCORE:g})"
    sheet = _paper(left.shape[0] + 62)
    second = _MARGIN + _CELL + _GAP
    titles = (
        (_MARGIN, "PyTorch", f"{_count(ours)} {limit};  {shown.name}"),
        (
            second,
            ".onnx",
            f"{_count(theirs)} {limit};  of all, {shown.matched} of {len(shown.pytorch)} match:"
            f" boxes within {shown.box_px:.2g} px, scores within {shown.score:.2g}",
        ),
    )
    for (x, side, text), picture in zip(titles, (left, right), strict=True):
        used = write(sheet, side, (x, 26), 16, bold=True)
        write(sheet, text, (x + used + 14, 26), 14, MUTED, room=_CELL - used - 14)
        indent = x + (_CELL - picture.shape[1]) // 2
        sheet[38 : 38 + picture.shape[0], indent : indent + picture.shape[1]] = picture
    return sheet


def _count(detections: Detections) -> str:
    return f"{len(detections)} detection{'s' * (len(detections) != 1)}"


def _charts(facts: Facts) -> Image:
    """Operators on the left; latency above agreement on the right."""
    right = np.concatenate([_latency(facts), _paper(28, _CELL), _agreement(facts)])
    left = _operators(facts)
    sheet = _paper(max(left.shape[0], right.shape[0]) + _MARGIN)
    second = _MARGIN + _CELL + _GAP
    sheet[: left.shape[0], _MARGIN : _MARGIN + _CELL] = left
    sheet[: right.shape[0], second : second + _CELL] = right
    return sheet


def _operators(facts: Facts) -> Image:
    exported, both = facts.exported, rewritten(facts.exported)
    before, after = len(exported.plain.graph.node), len(exported.model.graph.node)
    title = (
        f"{before} nodes before the rewrites (grey), {after} after (blue)"
        if both
        else f"{after} nodes, without rewrites"
    )
    groups = []
    for name, old, new in _most(operator_rows(exported)):
        bars = [Bar(old, str(old), BEFORE)] if both else []
        groups.append((name, [*bars, Bar(new, str(new), AFTER)]))
    return draw_bars(title, groups, _CELL)


def _latency(facts: Facts) -> Image:
    latency = facts.latency
    title, groups = "a frame to its detections, ms", [("the file", [_timing_bar(latency.written, AFTER)])]
    if latency.plain is not None and latency.gain is not None:
        title += f": {latency.gain.p50:.2f} times as fast as before the rewrites"
        groups.insert(0, ("before", [_timing_bar(latency.plain, BEFORE)]))
    bars = draw_bars(title, groups, _CELL, thick=24)
    note = _paper(34, _CELL)
    text = f"p50, and from min to p95; {latency.written.rounds} rounds on {latency.machine}"
    write(note, text, (0, 16), 13, MUTED, room=_CELL)
    return np.concatenate([bars, note])


def _agreement(facts: Facts) -> Image:
    parity = facts.exported.parity
    rows = (
        ("boxes", parity.box_px, BOX_TOLERANCE, " px"),
        ("spread", parity.spread_px, BOX_TOLERANCE, " px"),
        ("scores", parity.score, SCORE_TOLERANCE, ""),
    )
    groups = [
        (name, [Bar(value / most, f"{value:.2g} of {most:g}{unit}", AFTER, reach=1.0)])
        for name, value, most, unit in rows
        if value is not None
    ]
    return draw_bars("largest difference from PyTorch, of what is allowed", groups, _CELL, thick=24)


def _most(rows: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """The most frequent operators; the others as one."""
    if len(rows) <= _MOST_OPERATORS:
        return rows
    few = rows[_MOST_OPERATORS - 1 :]
    others = (f"{len(few)} others", sum(row[1] for row in few), sum(row[2] for row in few))
    return [*rows[: _MOST_OPERATORS - 1], others]


def _timing_bar(timing: Timing, colour: Colour) -> Bar:
    return Bar(timing.p50, f"{timing.p50:.2f}", colour, (timing.min, timing.p95))


def _paper(height: int, width: int = WIDTH) -> Image:
    sheet = np.empty((height, width, 3), dtype=np.uint8)
    sheet[:] = PAPER
    return sheet
