"""The stages as a picture: a bar of pre, model and post for each model and number of threads. OpenCV alone draws it."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.draw.boxes import Colour
from nanogfl.io.atomic import atomic_path
from nanogfl_deploy.bench.run import Cost
from nanogfl_deploy.bench.table import Report

COLOURS: dict[str, Colour] = {"pre": (60, 170, 250), "run": (190, 120, 40), "post": (110, 170, 60)}  # BGR
_TITLES = {"pre": "pre: resize", "run": "model: network", "post": "post: selection"}
_INK, _PALE, _GRID = (40, 40, 40), (110, 110, 110), (225, 225, 225)
_BAR_AREA, _MARGIN, _ROW, _BAR, _HEAD, _FOOT = 720, 24, 44, 26, 108, 76
_SIZE, _BOLD, _REGULAR = 17, 600, 400


def plot(report: Report) -> NDArray[np.uint8]:
    """The picture, uint8 (h, w, 3) BGR; as long as its labels need."""
    names = [_label(report, cost) for cost in report.costs]
    totals = [f"{cost.total.p50:.2f} ms" for cost in report.costs]
    left = _MARGIN + max(_width(name) for name in names) + 14
    about, (height, width) = report.machine, report.frame_hw
    heading = "Milliseconds a frame, median"
    below = f"{about['cpu']}, {about['cores']} cores, {about['system']}; onnxruntime {about['onnxruntime']}"
    below += f"; frame {width}x{height}"
    wide = (
        max(left + _BAR_AREA + max(_width(text) for text in totals) + 14, _MARGIN + _width(below, _SIZE - 2)) + _MARGIN
    )
    picture = np.full((_HEAD + _ROW * len(names) + _FOOT, wide, 3), 255, dtype=np.uint8)

    _write(picture, heading, _MARGIN, 36, weight=_BOLD, size=_SIZE + 4)
    _legend(picture, 70)
    longest = max(max(_sum(cost), cost.total.p50) for cost in report.costs)
    scale = _BAR_AREA / longest  # pixels a millisecond
    bottom = _HEAD + _ROW * len(names)
    _axis(picture, left, bottom, longest, scale)
    for row, (cost, name, total) in enumerate(zip(report.costs, names, totals, strict=True)):
        top = _HEAD + _ROW * row + (_ROW - _BAR) // 2
        _write(picture, name, left - 14 - _width(name), top + 19)
        x = float(left)
        for stage, colour in COLOURS.items():
            far = x + getattr(cost, stage).p50 * scale
            cv2.rectangle(picture, (round(x), top), (max(round(far) - 1, round(x)), top + _BAR), colour, cv2.FILLED)
            x = far
        _write(picture, total, round(max(x, left + cost.total.p50 * scale)) + 8, top + 19, weight=_BOLD)
    _write(picture, below, _MARGIN, bottom + _FOOT - 18, colour=_PALE, size=_SIZE - 2)
    return picture


def write_plot(report: Report, path: Path) -> None:
    """Writes the picture as PNG, whole or not at all."""
    _, content = cv2.imencode(".png", plot(report))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.tobytes())


def _label(report: Report, cost: Cost) -> str:
    """The file's name, with its folder where another model has the same name."""
    path = Path(cost.model)
    alike = sum(Path(model).name == path.name for model in report.models) > 1
    name = f"{path.parent.name}/{path.name}" if alike else path.name
    return f"{name}, {cost.threads} thread{'s' * (cost.threads > 1)}"


def _sum(cost: Cost) -> float:
    return cost.pre.p50 + cost.run.p50 + cost.post.p50


def _legend(picture: NDArray[np.uint8], y: int) -> None:
    x = _MARGIN
    for stage, colour in COLOURS.items():
        cv2.rectangle(picture, (x, y - 13), (x + 15, y + 2), colour, cv2.FILLED)
        _write(picture, _TITLES[stage], x + 23, y)
        x += 23 + _width(_TITLES[stage]) + 28
    _write(picture, "figure: total, timed as one call", x, y, colour=_PALE)


def _axis(picture: NDArray[np.uint8], left: int, bottom: int, longest: float, scale: float) -> None:
    """Grid lines at round numbers, four to eight of them."""
    step = 10.0 ** np.floor(np.log10(longest / 2))
    step *= next(factor for factor in (0.5, 1, 2, 5, 10) if longest / (step * factor) <= 8)
    for index in range(int(longest / step + 1e-9) + 1):
        x = round(left + index * step * scale)
        cv2.line(picture, (x, _HEAD - 4), (x, bottom), _GRID if index else _PALE, 1)
        text = f"{index * step:g}"
        _write(picture, text, x - _width(text, _SIZE - 2) // 2, bottom + 20, colour=_PALE, size=_SIZE - 2)


def _write(
    picture: NDArray[np.uint8],
    text: str,
    x: int,
    y: int,
    colour: Colour = _INK,
    weight: int = _REGULAR,
    size: int = _SIZE,
) -> None:
    cv2.putText(picture, text, (x, y), colour, cv2.FontFace("sans"), size, weight)


def _width(text: str, size: int = _SIZE) -> int:
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), cv2.FontFace("sans"), size, _BOLD)
    return int(width)
