"""Text and horizontal bars on paper, by OpenCV: the export needs no plotting package."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.draw.boxes import Colour

PAPER: Colour = (255, 255, 255)
INK: Colour = (38, 32, 28)
MUTED: Colour = (112, 104, 98)
BEFORE: Colour = (190, 184, 178)
AFTER: Colour = (168, 112, 24)

_GROUND: Colour = (238, 234, 230)

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TITLE = 44  # pixels above the first group
_TEXT = 13
_THIN, _BETWEEN = 10, 10


@dataclass(frozen=True)
class Bar:
    length: float
    text: str
    colour: Colour
    span: tuple[float, float] | None = None
    """from where to where a line is drawn over the bar"""
    reach: float = 0.0
    """a pale ground as long as this lies behind the bar"""

    @property
    def end(self) -> float:
        return max(self.length, self.reach, self.span[1] if self.span else 0.0)


def write(
    sheet: NDArray[np.uint8],
    text: str,
    corner: tuple[int, int],
    height: int,
    ink: Colour = INK,
    *,
    bold: bool = False,
    room: int | None = None,
) -> int:
    """One line, in place; `corner` is its left end on the baseline. Smaller where it would be wider than `room`.

    Returns its width.
    """
    scale, weight = cv2.getFontScaleFromHeight(_FONT, height, 1), 2 if bold else 1
    width = cv2.getTextSize(text, _FONT, scale, weight)[0][0]
    if room is not None and width > room:
        scale *= room / width
        width = cv2.getTextSize(text, _FONT, scale, weight)[0][0]
    cv2.putText(sheet, text, corner, _FONT, scale, ink, weight, cv2.LINE_AA)
    return width


def draw_bars(
    title: str, groups: Sequence[tuple[str, Sequence[Bar]]], width: int, thick: int = _THIN
) -> NDArray[np.uint8]:
    """One group of bars below the other, its name on the left -> uint8 (h, width, 3). All lengths share one scale."""
    tall = [len(bars) * (thick + 2) + _BETWEEN for _, bars in groups]
    sheet = np.empty((_TITLE + sum(tall), width, 3), dtype=np.uint8)
    sheet[:] = PAPER
    write(sheet, title, (0, 22), 16, bold=True, room=width)
    left = 24 + max(cv2.getTextSize(name, _FONT, _scale(), 1)[0][0] for name, _ in groups)
    room_for_text = 16 + max(cv2.getTextSize(bar.text, _FONT, _scale(), 1)[0][0] for _, bars in groups for bar in bars)
    per_unit = (width - left - room_for_text) / max(1e-9, *(bar.end for _, bars in groups for bar in bars))
    top = _TITLE
    for (name, bars), height in zip(groups, tall, strict=True):
        middle = top + (height - _BETWEEN) // 2
        name_width = cv2.getTextSize(name, _FONT, _scale(), 1)[0][0]
        write(sheet, name, (left - 12 - name_width, middle + 5), _TEXT)
        for index, bar in enumerate(bars):
            _draw_bar(sheet, bar, left, top + index * (thick + 2), thick, per_unit)
        top += height
    return sheet


def _draw_bar(sheet: NDArray[np.uint8], bar: Bar, left: int, top: int, thick: int, per_unit: float) -> None:
    for length, colour in ((bar.reach, _GROUND), (bar.length, bar.colour)):
        if round(length * per_unit):
            corner = (left + round(length * per_unit) - 1, top + thick - 1)
            cv2.rectangle(sheet, (left, top), corner, colour, cv2.FILLED)
    if bar.span is not None:
        middle = top + thick // 2
        start, end = (left + round(value * per_unit) for value in bar.span)
        cv2.line(sheet, (start, middle), (end, middle), INK, 1)
        for x in (start, end):
            cv2.line(sheet, (x, middle - thick // 4), (x, middle + thick // 4), INK, 1)
    write(sheet, bar.text, (left + round(bar.end * per_unit) + 8, top + thick // 2 + 5), min(thick + 1, _TEXT), MUTED)


def _scale() -> float:
    return cv2.getFontScaleFromHeight(_FONT, _TEXT, 1)
