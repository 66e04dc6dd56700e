"""A picture of the distributions behind boxes: the frame with numbered boxes, and a panel per box."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from nanogfl.contract.detections import Detections
from nanogfl.draw.boxes import draw_detections
from nanogfl.draw.panel import PANEL_WH, Picture, draw_panel

_OVERVIEW_HEIGHT = 760
_MARGIN = 20
_LINE = 26
_INK = (40, 40, 40)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEGEND = (
    "bars: the probability of each bin, from the grid point (bin 0, drawn half) outwards;",
    "line: their expectation, the side;",
    "grey: one standard deviation on each side",
)


def explain_picture(frame: Picture, detections: Detections, class_names: Sequence[str]) -> Picture:
    """uint8 (H, W, 3) BGR, larger than the frame, uint8 (h, w, 3) BGR, for detections with `sides` in its pixels.

    Raises ValueError for detections without `sides`.
    """
    if detections.sides is None:
        raise ValueError("explain_picture needs detections with sides")
    count = len(detections)
    columns = {0: 2, 4: 2}.get(count, min(count, 3))
    rows = math.ceil(count / columns)
    width = columns * PANEL_WH[0] + _MARGIN
    overview = _overview(frame, detections, class_names, (width - 2 * _MARGIN, _OVERVIEW_HEIGHT))
    below = 2 * _MARGIN + overview.shape[0]
    legend = _wrapped(_LEGEND if count else ("no detections: there is nothing to explain",), width - 2 * _MARGIN)
    height = below + rows * PANEL_WH[1] + len(legend) * _LINE + _MARGIN
    sheet = np.full((height, width, 3), 255, np.uint8)
    left = (width - overview.shape[1]) // 2
    sheet[_MARGIN : _MARGIN + overview.shape[0], left : left + overview.shape[1]] = overview
    for index in range(count):
        top, left = below + index // columns * PANEL_WH[1], _MARGIN + index % columns * PANEL_WH[0]
        panel = draw_panel(frame, detections, index, class_names)
        sheet[top : top + PANEL_WH[1], left : left + PANEL_WH[0]] = panel
    for line, text in enumerate(legend):
        _write(sheet, text, (_MARGIN, height - _MARGIN - _LINE * (len(legend) - 1 - line)))
    return sheet


def _overview(frame: Picture, detections: Detections, class_names: Sequence[str], room: tuple[int, int]) -> Picture:
    """The frame with its numbered boxes, scaled into the room (width, height)."""
    height, width = frame.shape[:2]
    scale = min(room[0] / width, room[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    spread = None if detections.spread is None else detections.spread * np.float32(scale)
    scaled = Detections(detections.boxes * np.float32(scale), detections.scores, detections.labels, spread)
    return draw_detections(np.asarray(picture, np.uint8), scaled, class_names, show_spread=True, numbered=True)


def _wrapped(phrases: Sequence[str], width: int) -> list[str]:
    """Phrases joined to lines of at most this width; a longer phrase has a line of its own."""
    scale = cv2.getFontScaleFromHeight(_FONT, 15, 1)
    lines: list[str] = []
    for phrase in phrases:
        longer = f"{lines[-1]} {phrase}" if lines else phrase
        if lines and cv2.getTextSize(longer, _FONT, scale, 1)[0][0] <= width:
            lines[-1] = longer
        else:
            lines.append(phrase)
    return lines


def _write(sheet: Picture, text: str, corner: tuple[int, int]) -> None:
    scale = cv2.getFontScaleFromHeight(_FONT, 15, 1)
    cv2.putText(sheet, text, corner, _FONT, scale, _INK, 1, cv2.LINE_AA)
