"""One detection enlarged, with the distributions of its four sides as bars where their bins lie."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections
from nanogfl.draw.boxes import MOST_LETTERS, Colour, class_colour, ink_on
from nanogfl.draw.spread import draw_soft_box
from nanogfl.io.printable import shortened

Picture = NDArray[np.uint8]

VIEW_WH = (480, 400)
"""width, height in pixels of the enlarged part of the frame"""
BARS = 110
"""pixels of the bar of the panel's largest probability"""
TICKS = 22
"""pixels between the view and the bars: the bins' numbers"""
_WORDS = 26  # above the bars of left and right: name and standard deviation
_SIDEWAYS = 72  # the same beside the bars of top and bottom
_TITLE = 38
_GAP = 16
VIEW_TOP = _TITLE + _WORDS + BARS + TICKS
"""pixels above the view, which lies on the panel's left edge"""
PANEL_WH = (VIEW_WH[0] + TICKS + BARS + _SIDEWAYS + _GAP, VIEW_TOP + VIEW_WH[1] + _GAP)
_WHITE, _GREY, _PALE, _INK = (255, 255, 255), (150, 150, 150), (228, 228, 228), (40, 40, 40)
_OUTSIDE = (205, 205, 205)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SIDES = ("left", "top", "right", "bottom")


class Window(NamedTuple):
    """The part of the frame that a view shows: its corner in frame pixels, and view pixels per frame pixel."""

    x: float
    y: float
    scale: float


def draw_panel(frame: Picture, detections: Detections, index: int, class_names: Sequence[str]) -> Picture:
    """uint8 (h, w, 3) of size PANEL_WH: detection `index` enlarged, with its bars above (left, right) and beside it."""
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
    draw_soft_box(view, (mean - corner) * window.scale, deviation * window.scale, colour, 3)
    panel[VIEW_TOP : VIEW_TOP + VIEW_WH[1], : VIEW_WH[0]] = view

    largest = float(probabilities.max())
    charts, places, middles = [], [], []
    for side in range(4):
        start, length = (window.x, VIEW_WH[0]) if side % 2 == 0 else (window.y, VIEW_WH[1])
        charts.append(Chart(panel, side % 2 == 0, length))
        bins = origin[side] + step[side] * np.arange(probabilities.shape[1])
        places.append(((bins - start) * window.scale).tolist())
        middles.append(float(mean[side] - start) * window.scale)
    # all of a kind before the next, or one side's bars would cover the line of the other
    for chart, middle, sigma in zip(charts, middles, deviation.tolist(), strict=True):
        chart.fill(middle - sigma * window.scale, middle + sigma * window.scale, 0, BARS, _PALE)
    for chart, place, heights in zip(charts, places, (probabilities / largest * BARS).tolist(), strict=True):
        chart.bars(place, heights, colour)
        chart.ticks(place)
    for side, chart in enumerate(charts):
        chart.fill(middles[side] - 1, middles[side] + 1, -TICKS, BARS, _INK)
        chart.words(_SIDES[side], f"± {deviation[side]:.1f} px", middles[side])
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
    """The window around a box (4,): its sides and two deviations, all bins above 2 %, its grid point, and a margin."""
    reach = [(float(origin[axis]), float(origin[axis])) for axis in (0, 1)]
    for side in range(4):
        bins = origin[side] + step[side] * np.flatnonzero(probabilities[side] > 0.02)
        half = abs(float(step[side])) / 2
        places = [
            mean[side] - 2 * deviation[side],
            mean[side] + 2 * deviation[side],
            bins.min() - half,
            bins.max() + half,
        ]
        low, high = reach[side % 2]
        reach[side % 2] = min(low, *map(float, places)), max(high, *map(float, places))
    (x1, x2), (y1, y2) = reach
    scale = min(VIEW_WH[0] / (x2 - x1), VIEW_WH[1] / (y2 - y1)) * 0.94
    return Window((x1 + x2) / 2 - VIEW_WH[0] / scale / 2, (y1 + y2) / 2 - VIEW_WH[1] / scale / 2, scale)


class Chart:
    """Bars on an edge of the view: `along` counts view pixels on that edge, `away` pixels from the bars' foot."""

    def __init__(self, panel: Picture, upright: bool, length: int) -> None:
        self._panel, self._upright, self._length = panel, upright, length

    def fill(self, begin: float, end: float, near: float, far: float, colour: Colour) -> None:
        """Draws a rectangle, at least a pixel wide, clipped to the view."""
        first, last = max(round(begin), 0), min(max(round(end), round(begin) + 1), self._length)
        low, high = round(near), round(far)
        if first >= last or low >= high:
            return
        if self._upright:
            foot = VIEW_TOP - TICKS
            self._panel[foot - high : foot - low, first:last] = colour
        else:
            foot = VIEW_WH[0] + TICKS
            self._panel[VIEW_TOP + first : VIEW_TOP + last, foot + low : foot + high] = colour

    def bars(self, places: list[float], heights: list[float], colour: Colour) -> None:
        """Draws a bar per bin; of bin 0 the outer half, as the opposite side's bin 0 lies in the same place."""
        step = places[1] - places[0]
        for index, (place, height) in enumerate(zip(places, heights, strict=True)):
            inner, outer = place - 0.4 * step * (index > 0), place + 0.4 * step
            self.fill(min(inner, outer), max(inner, outer), 0, height, colour)

    def ticks(self, places: list[float]) -> None:
        """Writes the bins' numbers, as many as fit."""
        every = math.ceil(18 / max(abs(places[1] - places[0]), 0.1))
        for index, place in enumerate(places):
            if not 0 <= place < self._length:
                continue
            self.fill(place - 0.5, place + 0.5, -4, 0, _GREY)
            if index % every == 0 and 8 <= place <= self._length - 8:
                self._text(str(index), place, -TICKS / 2 - 1, 10, _GREY)

    def words(self, side: str, deviation: str, middle: float) -> None:
        """Writes the side's name and deviation at its place; left and top keep to the first half."""
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
        """Writes centred text."""
        centre = (along, VIEW_TOP - TICKS - away) if self._upright else (VIEW_WH[0] + TICKS + away, VIEW_TOP + along)
        scale = cv2.getFontScaleFromHeight(_FONT, height, 1)
        (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
        corner = (round(centre[0] - width / 2), round(centre[1] + height / 2))
        cv2.putText(self._panel, text, corner, _FONT, scale, colour, 1, cv2.LINE_AA)


def _cut(frame: Picture, window: Window) -> Picture:
    """The window in view pixels, grey outside the frame. A pixel's centre lies half a pixel from its edge."""
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
    view = cv2.warpAffine(frame, np.array(to_frame), VIEW_WH, flags=flags, borderValue=_OUTSIDE)
    return np.asarray(view, np.uint8)


def _mark(view: Picture, at: tuple[float, float]) -> None:
    """Draws the grid point."""
    centre = round(at[0]), round(at[1])
    cv2.circle(view, centre, 6, _INK, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(view, centre, 4, _WHITE, cv2.FILLED, cv2.LINE_AA)


def _title(panel: Picture, text: str, colour: Colour) -> None:
    text = shortened(text, MOST_LETTERS)
    scale = cv2.getFontScaleFromHeight(_FONT, 17, 1)
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    cv2.rectangle(panel, (0, 0), (width + 16, 30), colour, cv2.FILLED)
    cv2.putText(panel, text, (8, 22), _FONT, scale, ink_on(colour), 1, cv2.LINE_AA)
