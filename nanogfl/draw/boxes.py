"""Draws boxes, labels and spread on pictures, and tiles pictures."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections
from nanogfl.draw.spread import draw_soft_box
from nanogfl.io.printable import shortened

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_GOLDEN_RATIO = 0.618034
_BACKGROUND = (40, 40, 40)
MOST_LETTERS = 80
"""longest text that is drawn: a file may have class names of megabytes, for which OpenCV takes minutes"""

Colour = tuple[int, int, int]
"""blue, green, red"""


def class_colour(label: int) -> Colour:
    """The colour of a class in every picture. Steps of the golden ratio keep the hues of neighbours far apart."""
    hue = (0.36 + label * _GOLDEN_RATIO) % 1.0
    lightness = (0.56, 0.42, 0.70)[label // 8 % 3]  # hues come close to each other after eight classes
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.95)
    return round(blue * 255), round(green * 255), round(red * 255)


def ink_on(ground: Colour) -> Colour:
    """Black or white, whichever is more legible on this ground."""
    blue, green, red = ground
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 120 else (255, 255, 255)  # ITU-R BT.601 luma


def line_width(height: int, width: int) -> int:
    """Width in pixels of a box's line in a picture of this size: 1 for a shorter side of 160, 2 for 480, 3 for 720."""
    return max(1, round(min(height, width) / 240))


def draw_detections(
    frame: NDArray[np.uint8],
    detections: Detections,
    class_names: Sequence[str],
    *,
    show_scores: bool = True,
    show_spread: bool = False,
    numbered: bool = False,
) -> NDArray[np.uint8]:
    """A copy of the frame, uint8 (h, w, 3) BGR, with detections in its pixels drawn on it.

    The best detection is drawn last, on top. `show_spread`: each side is as soft as its spread; `numbered`: 1, 2, ...
    before the names.
    """
    picture = frame.copy()
    thickness = line_width(*frame.shape[:2])
    for index in reversed(range(len(detections))):
        label = int(detections.labels[index])
        colour = class_colour(label)
        if show_spread and detections.spread is not None:
            draw_soft_box(picture, detections.boxes[index], detections.spread[index], colour, thickness)
            continue
        box = _whole_pixels(detections.boxes[index], frame.shape)
        # the dark line below keeps a light box visible on a light picture
        cv2.rectangle(picture, box[:2], box[2:], (0, 0, 0), thickness + 2)
        cv2.rectangle(picture, box[:2], box[2:], colour, thickness)
    for index in reversed(range(len(detections))):  # labels above every box
        label = int(detections.labels[index])
        number = f"{index + 1} " if numbered else ""
        text = number + class_names[label] + (f" {detections.scores[index]:.2f}" if show_scores else "")
        x1, y1, _, _ = _whole_pixels(detections.boxes[index], frame.shape)
        _draw_label(picture, text, (x1, y1), class_colour(label))
    return picture


def draw_text(picture: NDArray[np.uint8], text: str) -> None:
    """Writes a line of text on a dark ground into the top left corner of a picture (H, W, 3), in place."""
    _draw_label(picture, text, (0, 0), _BACKGROUND)


def tile(
    pictures: Sequence[NDArray[np.uint8]], columns: int, titles: Sequence[str] | None = None, gap: int = 4
) -> NDArray[np.uint8]:
    """Pictures uint8 (h, w, 3) in a grid, row by row, in cells of the largest size. Raises ValueError without any."""
    if not pictures or columns < 1:
        raise ValueError(f"tile needs at least one picture and one column, got {len(pictures)} and {columns}")
    height = max(picture.shape[0] for picture in pictures)
    width = max(picture.shape[1] for picture in pictures)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = np.empty((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), dtype=np.uint8)
    sheet[:] = _BACKGROUND
    for index, picture in enumerate(pictures):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        cell = sheet[top : top + picture.shape[0], left : left + picture.shape[1]]
        cell[:] = picture
        if titles is not None:
            draw_text(cell, titles[index])
    return sheet


def _whole_pixels(box: NDArray[np.float32], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """x1 y1 x2 y2, rounded, and clipped so that every side is drawn inside the picture."""
    limit = (shape[1] - 1, shape[0] - 1, shape[1] - 1, shape[0] - 1)
    x1, y1, x2, y2 = (min(max(round(float(value)), 0), most) for value, most in zip(box, limit, strict=True))
    return x1, y1, x2, y2


def _draw_label(picture: NDArray[np.uint8], text: str, corner: tuple[int, int], colour: Colour) -> None:
    """Text on a filled ground above the corner (x, y), moved and if need be shrunk into the picture."""
    text = shortened(text, MOST_LETTERS)
    height, width = picture.shape[:2]
    text_height = min(max(9, round(0.022 * min(height, width))), height // 2)
    scale = cv2.getFontScaleFromHeight(_FONT, text_height, 1)
    pad = max(2, text_height // 4)
    (text_width, _), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    if text_width + 2 * pad > width:
        scale *= max(width - 2 * pad, 1) / text_width
        (text_width, _), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    ground_height = text_height + baseline + pad
    left = max(0, min(corner[0], width - text_width - 2 * pad))
    top = corner[1] - ground_height
    if top < 0:  # no room above: inside the box
        top = max(0, min(corner[1], height - ground_height))
    cv2.rectangle(picture, (left, top), (left + text_width + 2 * pad, top + ground_height), colour, cv2.FILLED)
    origin = (left + pad, top + pad // 2 + text_height)
    cv2.putText(picture, text, origin, _FONT, scale, ink_on(colour), 1, cv2.LINE_AA)
