"""The distributions behind boxes, as a picture: an overview, and a panel a box with bars where its bins lie."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections
from nanogfl.contract.draw import Colour, class_colour, draw_detections, ink_on
from nanogfl.contract.draw_spread import draw_soft_box

Picture = NDArray[np.uint8]

SIDES = ("left", "top", "right", "bottom")
VIEW_WH = (480, 400)
"""width, height in pixels of the enlarged part of the picture in a panel"""
BARS = 110
"""pixels of a bar for the panel's largest probability"""
_TICKS = 22  # between the view and the bars: the bins' numbers
_ROOM = 26  # beyond the bars: the standard deviation in words
_TITLE = 38
_GAP = 16
_SIDEWAYS = 72  # right of the bars of top and bottom, whose words are not above each other but beside
PANEL_WH = (VIEW_WH[0] + _TICKS + BARS + _SIDEWAYS + _GAP, _TITLE + _ROOM + BARS + _TICKS + VIEW_WH[1] + _GAP)
_OVERVIEW_HEIGHT = 760
_MARGIN = 20
_WHITE, _GREY, _PALE, _INK = (255, 255, 255), (150, 150, 150), (228, 228, 228), (40, 40, 40)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEGEND = (
    "bars: the probability of each bin, from the grid point (bin 0) outwards;",
    "line: their expectation, the side;",
    "grey: one standard deviation on each side",
)


class Window(NamedTuple):
    """The part of the frame that a panel's view shows: its corner in frame pixels, view pixels per frame pixel."""

    x: float
    y: float
    scale: float


def explain_picture(frame: Picture, detections: Detections, class_names: Sequence[str]) -> Picture:
    """Frame uint8 (h, w, 3) BGR and detections with `sides` in its pixels -> a picture of its own size."""
    if detections.sides is None:
        raise ValueError("explain_picture needs detections with sides")
    count = len(detections)
    columns = {0: 2, 4: 2}.get(count, min(count, 3))
    rows = math.ceil(count / columns)
    width = columns * PANEL_WH[0] + _MARGIN
    overview = _overview(frame, detections, class_names, (width - 2 * _MARGIN, _OVERVIEW_HEIGHT))
    below = 2 * _MARGIN + overview.shape[0]
    legend = _wrapped(_LEGEND if count else ("no detections: there is nothing to explain",), width - 2 * _MARGIN)
    height = below + rows * PANEL_WH[1] + len(legend) * 26 + _MARGIN
    sheet = np.full((height, width, 3), 255, np.uint8)
    left = (width - overview.shape[1]) // 2
    sheet[_MARGIN : _MARGIN + overview.shape[0], left : left + overview.shape[1]] = overview
    for index in range(count):
        top, left = below + index // columns * PANEL_WH[1], _MARGIN + index % columns * PANEL_WH[0]
        panel = draw_panel(frame, detections, index, class_names)
        sheet[top : top + PANEL_WH[1], left : left + PANEL_WH[0]] = panel
    for line, text in enumerate(legend):
        _write(sheet, text, (_MARGIN, height - _MARGIN - 26 * (len(legend) - 1 - line)))
    return sheet


def draw_panel(frame: Picture, detections: Detections, index: int, class_names: Sequence[str]) -> Picture:
    """Detection `index` enlarged, above it the bars of left and right, beside it those of top and bottom."""
    assert detections.sides is not None
    sides = detections.sides.take(np.array([index]))
    probabilities, origin, step = sides.probabilities[0], sides.origin[0], sides.step[0]
    mean, deviation = sides.expectation()[0], sides.deviation()[0]
    colour = class_colour(int(detections.labels[index]))
    window = window_around(sides.probabilities[0], origin, step, mean, deviation)
    panel = np.full((PANEL_WH[1], PANEL_WH[0], 3), 255, np.uint8)

    view = _cut(frame, window)
    _mark(view, ((origin[0] - window.x) * window.scale, (origin[1] - window.y) * window.scale))
    corner = np.array([window.x, window.y, window.x, window.y], np.float32)
    draw_soft_box(view, (mean - corner) * window.scale, deviation * window.scale, colour, 2)
    top = _TITLE + _ROOM + BARS + _TICKS
    panel[top : top + VIEW_WH[1], : VIEW_WH[0]] = view

    largest = float(probabilities.max())
    for side in range(4):
        upright = side % 2 == 0  # left and right: the bars stand on the view; top and bottom: they lie beside it
        start, length = (window.x, VIEW_WH[0]) if upright else (window.y, VIEW_WH[1])
        chart = Chart(panel, upright, top, length)
        place = (origin[side] + step[side] * np.arange(probabilities.shape[1]) - start) * window.scale
        middle, blur = float(mean[side] - start) * window.scale, float(deviation[side]) * window.scale
        chart.fill(middle - blur, middle + blur, 0, BARS, _PALE)
        half = 0.4 * abs(float(step[side])) * window.scale
        for x, probability in zip(place.tolist(), probabilities[side].tolist(), strict=True):
            chart.fill(x - half, x + half, 0, BARS * probability / largest, colour)
        chart.fill(middle - 1, middle + 1, -_TICKS, BARS, _INK)
        chart.ticks(place.tolist())
        chart.words(SIDES[side], f"± {deviation[side]:.1f} px", middle)
    name = class_names[int(detections.labels[index])]
    _title(panel, f"{index + 1}  {name}  {detections.scores[index]:.2f}", colour)
    return panel


def window_around(
    probabilities: NDArray[np.float32],
    origin: NDArray[np.float32],
    step: NDArray[np.float32],
    mean: NDArray[np.float32],
    deviation: NDArray[np.float32],
) -> Window:
    """Around a box: its sides and two deviations, every bin of more than 2 %, its grid point, and some air."""
    reach = [(float(origin[axis]), float(origin[axis])) for axis in (0, 1)]
    for side in range(4):
        bins = origin[side] + step[side] * np.flatnonzero(probabilities[side] > 0.02)
        half = abs(float(step[side])) / 2
        places = [mean[side] - 2 * deviation[side], mean[side] + 2 * deviation[side], bins.min() - half, bins.max() + half]
        low, high = reach[side % 2]
        reach[side % 2] = min(low, *map(float, places)), max(high, *map(float, places))
    (x1, x2), (y1, y2) = reach
    scale = min(VIEW_WH[0] / (x2 - x1), VIEW_WH[1] / (y2 - y1)) * 0.94
    return Window((x1 + x2) / 2 - VIEW_WH[0] / scale / 2, (y1 + y2) / 2 - VIEW_WH[1] / scale / 2, scale)


class Chart:
    """Bars on an edge of the view: `along` counts view pixels on that edge, `away` pixels from the bars' foot."""

    def __init__(self, panel: Picture, upright: bool, view_top: int, length: int) -> None:
        self._panel, self._upright, self._length = panel, upright, length
        self._view_top = view_top

    def fill(self, begin: float, end: float, near: float, far: float, colour: Colour) -> None:
        """A rectangle, at least a pixel wide, cut off where the view ends."""
        first, last = max(round(begin), 0), min(max(round(end), round(begin) + 1), self._length)
        low, high = round(near), round(far)
        if first >= last or low >= high:
            return
        if self._upright:
            foot = self._view_top - _TICKS
            self._panel[foot - high : foot - low, first:last] = colour
        else:
            foot = VIEW_WH[0] + _TICKS
            self._panel[self._view_top + first : self._view_top + last, foot + low : foot + high] = colour

    def ticks(self, places: list[float]) -> None:
        """The bins' numbers, as many as there is room for."""
        every = math.ceil(18 / max(abs(places[1] - places[0]), 0.1)) if len(places) > 1 else 1
        for index, place in enumerate(places):
            if not 0 <= place < self._length:
                continue
            self.fill(place - 0.5, place + 0.5, -4, 0, _GREY)
            if index % every == 0 and 8 <= place <= self._length - 8:
                self._text(str(index), place, -_TICKS / 2 - 1, 10, _GREY)

    def words(self, side: str, deviation: str, middle: float) -> None:
        """The side's name and its deviation at its place; left and top keep to the first half."""
        first_half = side in ("left", "top")
        room = 62 if self._upright else 20
        half = self._length / 2
        place = min(middle, half - room) if first_half else max(middle, half + room)
        place = min(max(place, room), self._length - room)
        if self._upright:
            self._text(f"{side} {deviation}", place, BARS + 13, 14, _INK)
        else:
            self._text(side, place - 9, BARS + 36, 14, _INK)
            self._text(deviation, place + 10, BARS + 36, 14, _INK)

    def _text(self, text: str, along: float, away: float, height: int, colour: Colour) -> None:
        """Centred."""
        if self._upright:
            centre = (along, self._view_top - _TICKS - away)
        else:
            centre = (VIEW_WH[0] + _TICKS + away, self._view_top + along)
        scale = cv2.getFontScaleFromHeight(_FONT, height, 1)
        (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
        corner = (round(centre[0] - width / 2), round(centre[1] + height / 2))
        cv2.putText(self._panel, text, corner, _FONT, scale, colour, 1, cv2.LINE_AA)


def _overview(frame: Picture, detections: Detections, class_names: Sequence[str], room: tuple[int, int]) -> Picture:
    """The frame with its numbered boxes, scaled into the room (width, height)."""
    height, width = frame.shape[:2]
    scale = min(room[0] / width, room[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    spread = None if detections.spread is None else detections.spread * np.float32(scale)
    scaled = Detections(detections.boxes * np.float32(scale), detections.scores, detections.labels, spread)
    return draw_detections(np.asarray(picture, np.uint8), scaled, class_names, show_spread=True, numbered=True)


def _cut(frame: Picture, window: Window) -> Picture:
    """The window, in view pixels; grey outside the frame. A pixel's middle lies half a pixel from its edge."""
    scale = window.scale
    if scale < 1:  # averaged first: sampling alone would leave out pixels
        size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
        factors = size[0] / frame.shape[1], size[1] / frame.shape[0]
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    else:
        factors = 1.0, 1.0
    to_frame = [
        [factors[0] / scale, 0, factors[0] * (window.x + 0.5 / scale) - 0.5],
        [0, factors[1] / scale, factors[1] * (window.y + 0.5 / scale) - 0.5],
    ]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    view = cv2.warpAffine(frame, np.array(to_frame), VIEW_WH, flags=flags, borderValue=(200, 200, 200))
    return np.asarray(view, np.uint8)


def _mark(view: Picture, at: tuple[float, float]) -> None:
    """The grid point."""
    centre = round(at[0]), round(at[1])
    cv2.circle(view, centre, 6, _INK, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(view, centre, 4, _WHITE, cv2.FILLED, cv2.LINE_AA)


def _title(panel: Picture, text: str, colour: Colour) -> None:
    scale = cv2.getFontScaleFromHeight(_FONT, 17, 1)
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    cv2.rectangle(panel, (0, 0), (width + 16, 30), colour, cv2.FILLED)
    cv2.putText(panel, text, (8, 22), _FONT, scale, ink_on(colour), 1, cv2.LINE_AA)


def _wrapped(phrases: Sequence[str], width: int) -> list[str]:
    """Phrases put together to lines of at most this width, where a phrase is not wider by itself."""
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
