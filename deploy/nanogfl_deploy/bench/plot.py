"""`nanogfl bench --plot`: one bar of pre, model and post per model and number of threads, drawn by OpenCV alone."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.draw.boxes import Colour
from nanogfl.io.atomic import atomic_path
from nanogfl_deploy.bench.table import Report

COLOURS: dict[str, Colour] = {"pre": (60, 170, 250), "run": (190, 120, 40), "post": (110, 170, 60)}  # BGR
_INK, _PALE = (40, 40, 40), (110, 110, 110)
_BAR_AREA, _MARGIN, _ROW, _BAR, _HEAD, _FOOT = 720, 24, 44, 26, 92, 44
_SIZE = 17


def plot(report: Report) -> NDArray[np.uint8]:
    """The picture, uint8 (h, w, 3) BGR, as wide as its labels need; all bars share one scale."""
    short = [Path(model).name for model in report.models]
    names = []
    for cost in report.costs:
        path = Path(cost.model)
        alike = short.count(path.name) > 1
        name = f"{path.parent.name}/{path.name}" if alike else path.name
        names.append(f"{name}, {cost.threads} thread{'s' * (cost.threads > 1)}")
    about, (height, width) = report.machine, report.frame_hw
    below = f"{about['cpu']}, {about['cores']} cores; onnxruntime {about['onnxruntime']}; frame {width}x{height}"
    left = _MARGIN + max(map(_width, names)) + 14
    right = max(left + _BAR_AREA + _width("000000.00 ms") + 14, _MARGIN + _width(below)) + _MARGIN
    bottom = _HEAD + _ROW * len(names)
    picture = np.full((bottom + _FOOT, right, 3), 255, dtype=np.uint8)

    _write(picture, "Milliseconds per frame, median:", _MARGIN, 44)
    x = float(_MARGIN + _width("Milliseconds per frame, median:") + 24)
    for title, colour in zip(("resize", "network", "selection"), COLOURS.values(), strict=True):
        _write(picture, title, round(x), 44, colour)
        x += _width(title) + 24
    scale = _BAR_AREA / max(max(c.pre.p50 + c.run.p50 + c.post.p50, c.total.p50) for c in report.costs)
    for row, (cost, name) in enumerate(zip(report.costs, names, strict=True)):
        top = _HEAD + _ROW * row + (_ROW - _BAR) // 2
        _write(picture, name, left - 14 - _width(name), top + 19)
        x = float(left)
        for stage, colour in COLOURS.items():
            far = x + getattr(cost, stage).p50 * scale
            cv2.rectangle(picture, (round(x), top), (max(round(far) - 1, round(x)), top + _BAR), colour, cv2.FILLED)
            x = far
        _write(picture, f"{cost.total.p50:.2f} ms", round(max(x, left + cost.total.p50 * scale)) + 8, top + 19)
    _write(picture, below, _MARGIN, bottom + 26, _PALE)
    return picture


def write_plot(report: Report, path: Path) -> None:
    """Writes the picture as PNG, whole or not at all. Raises UserError where it cannot be written."""
    _, content = cv2.imencode(".png", plot(report))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.tobytes())


def _write(picture: NDArray[np.uint8], text: str, x: int, y: int, colour: Colour = _INK) -> None:
    cv2.putText(picture, text, (x, y), colour, cv2.FontFace("sans"), _SIZE, 400)


def _width(text: str) -> int:
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), cv2.FontFace("sans"), _SIZE, 400)
    return int(width)
