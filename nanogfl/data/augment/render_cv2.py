"""Renders planned pictures with OpenCV, one at a time, in threads. Colour is applied later, on the device."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.augment.plan import Plans

FrameOf = Callable[[int], NDArray[np.uint8]]
"""image of the data set -> its frame uint8 (h', w', 3) BGR, which may be smaller or larger than annotated"""


def render_into(
    out: NDArray[np.uint8], plans: Plans, b: int, frame_of: FrameOf, hw: NDArray[np.int64], spec: InputSpec
) -> None:
    """Paints picture `b` into `out` uint8 (H, W, 3) BGR; what no image covers is pad_value.

    `hw` (n, 2): the images' heights and widths as annotated.
    """
    layers: list[int] = plans.index[b].tolist()
    for layer, image in enumerate(layers[:-1]):
        if image >= 0:
            _paint(out, plans, b, layer, frame_of(image), hw[image].tolist(), spec)
    partner, weight = layers[-1], float(plans.mix[b])
    if partner >= 0:
        other = np.empty_like(out)
        _paint(other, plans, b, len(layers) - 1, frame_of(partner), hw[partner].tolist(), spec)
        cv2.addWeighted(out, 1 - weight, other, weight, 0, dst=out)


def _paint(
    out: NDArray[np.uint8], plans: Plans, b: int, layer: int, frame: NDArray[np.uint8], hw: list[int], spec: InputSpec
) -> None:
    x1, y1, x2, y2 = plans.window[b, layer].tolist()
    view, size = out[y1:y2, x1:x2], (x2 - x1, y2 - y1)
    # Plain numbers: arrays this small cost more in calls than in arithmetic. From the frame's pixels instead of the
    # annotated ones, to the window's instead of the input's.
    scale_x, scale_y = hw[1] / frame.shape[1], hw[0] / frame.shape[0]
    (a, b_, c), (d, e, f), (g, h, i) = plans.matrix[b, layer].tolist()
    a, b_, d, e, g, h = a * scale_x, b_ * scale_y, d * scale_x, e * scale_y, g * scale_x, h * scale_y
    # OpenCV's coordinates are pixel centres: half a pixel less on both sides of the map.
    c, f, i = c + (a + b_) / 2, f + (d + e) / 2, i + (g + h) / 2
    left, top = x1 + 0.5, y1 + 0.5
    rows = [
        [a - left * g, b_ - left * h, c - left * i],
        [d - top * g, e - top * h, f - top * i],
    ]
    linear, border, pad = cv2.INTER_LINEAR, cv2.BORDER_CONSTANT, spec.pad_value
    if g or h:
        done = cv2.warpPerspective(frame, np.array([*rows, [g, h, i]]), size, view, linear, border, pad)
    elif frame.shape == view.shape and _same_pixels(rows):
        done = view
        view[:] = frame
    else:
        done = cv2.warpAffine(frame, np.array(rows), size, view, linear, border, pad)
    assert np.shares_memory(done, out), "OpenCV painted elsewhere: out must be uint8 (H, W, 3) with whole rows"


def _same_pixels(rows: list[list[float]]) -> bool:
    return all(abs(rows[r][c] - (r == c)) < 1e-7 for r in (0, 1) for c in (0, 1, 2))
