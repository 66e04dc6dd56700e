"""Backgrounds, fills and camera effects of the embedded data set."""

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nanogfl.data.synthetic.shapes import Stencil

MIN_CONTRAST = 90.0
"""least distance in BGR between a shape's main colour and what it is drawn on"""


def background(rng: Generator, hw: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 (h, w, 3) BGR: a colour gradient, a texture, noise of several scales, and clutter that is no object."""
    height, width = hw
    grid = rng.uniform(25, 230, 3) + rng.normal(0, 24, (int(rng.integers(2, 4)), int(rng.integers(2, 4)), 3))
    canvas = np.asarray(cv2.resize(grid.astype(np.float32), (width, height)), dtype=np.float32)
    tone = rng.uniform(0, 50) * (_texture(rng, hw, math.exp(rng.uniform(math.log(8), math.log(90)))) - 0.5)
    for period in (64.0, 16.0, 5.0):
        tone += rng.uniform(0, 45) * (_noise(rng, hw, period) - 0.5)
    tint = rng.uniform(0.4, 1.0, 3).astype(np.float32)
    picture = np.clip(canvas + tone[:, :, None] * tint, 0, 255).astype(np.uint8)
    _clutter(rng, picture)
    return picture


def paint(rng: Generator, image: NDArray[np.uint8], stencil: Stencil, hues: tuple[int, int] | None = None) -> None:
    """Fills the stencil in an image (H, W, 3) with a plain or textured colour that stands out, some with a border.

    `hues`: first and last hue of the colour, in OpenCV's half degrees; None: any.
    """
    window = image[stencil.window]
    behind = window[stencil.mask].mean(axis=0, dtype=np.float32)
    main = _most_unlike(_any_colours(rng) if hues is None else _colours_of(rng, hues), behind, MIN_CONTRAST)
    fill = np.broadcast_to(main, window.shape)
    hw = (window.shape[0], window.shape[1])
    if rng.random() < 0.65:
        second = main + (rng.uniform(15, 50) * np.sign(127 - main.mean()) + rng.normal(0, 15, 3)).astype(np.float32)
        pattern = _texture(rng, hw, period=max(5.0, rng.uniform(0.12, 0.4) * max(hw)))
        fill = main + pattern[:, :, None] * (second - main)
    if rng.random() < 0.4:
        line = np.clip(main + rng.choice([-90.0, 90.0]), 0, 255).astype(np.float32)
        fill = fill + (stencil.edge.astype(np.float32) / 255)[:, :, None] * (line - fill)
    alpha = (stencil.coverage.astype(np.float32) / 255)[:, :, None]
    window[:] = np.clip(np.rint(window + alpha * (fill - window)), 0, 255).astype(np.uint8)


def photograph(rng: Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Image (H, W, 3) BGR -> the same with what a camera adds: blur, another brightness and contrast, sensor noise."""
    picture = image.astype(np.float32)
    if rng.random() < 0.4:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.1)), dtype=np.float32)
    picture = (picture - 127) * np.float32(rng.uniform(0.8, 1.1)) + np.float32(127 + rng.uniform(-25, 25))
    grain = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(rng.uniform(0, 9))
    return np.clip(np.rint(picture + grain[:, :, None]), 0, 255).astype(np.uint8)


def _texture(rng: Generator, hw: tuple[int, int], period: float) -> NDArray[np.float32]:
    """(h, w) 0 to 1: stripes, a checkerboard, a gradient, spots or noise, of about `period` pixels."""
    height, width = hw
    angle = rng.uniform(0, 2 * math.pi)
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :]
    u = x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))
    v = y * np.float32(math.cos(angle)) - x * np.float32(math.sin(angle))
    wave = np.float32(2 * math.pi / period)
    match ("gradient", "stripes", "checker", "spots", "noise")[int(rng.integers(5))]:
        case "gradient":
            return np.asarray((u - u.min()) / max(1.0, float(np.ptp(u))), dtype=np.float32)
        case "stripes":
            return _sharpen(np.sin(u * wave), period)
        case "checker":
            return _sharpen(np.sin(u * wave) * np.sin(v * wave), period)
        case "spots":
            return _sharpen(np.sin(u * wave) * np.sin(v * wave) - np.float32(0.4), period)
        case _:
            return _noise(rng, hw, period)


def _any_colours(rng: Generator) -> NDArray[np.float32]:
    """(12, 3) random BGR."""
    return rng.uniform(0, 255, (12, 3)).astype(np.float32)


def _colours_of(rng: Generator, hues: tuple[int, int]) -> NDArray[np.float32]:
    """(12, 3) BGR of the hues from first to last, from dark to bright: what is behind may have the hue, too."""
    low, high = np.array([hues[0], 0.75, 0.35]), np.array([hues[1], 1.0, 1.0])
    hue, saturation, value = rng.uniform(low, high, (12, 3)).T
    hsv = np.stack([hue % 180 * 2, saturation, value], axis=1).astype(np.float32)
    return np.asarray(cv2.cvtColor(hsv[None], cv2.COLOR_HSV2BGR)[0] * 255, dtype=np.float32)


def _most_unlike(candidates: NDArray[np.float32], other: NDArray[np.float32], distance: float) -> NDArray[np.float32]:
    """(n, 3) BGR, (3,) -> (3,): the first that is at least this far from `other`, the farthest where none is."""
    away = np.linalg.norm(candidates - other, axis=1)
    chosen = int(np.argmax(away >= distance)) if (away >= distance).any() else int(np.argmax(away))
    return np.asarray(candidates[chosen], dtype=np.float32)


def _clutter(rng: Generator, picture: NDArray[np.uint8]) -> None:
    """Draws thin lines, open arcs and speckles."""
    height, width = picture.shape[:2]
    for _ in range(int(rng.integers(0, 5))):
        ends = rng.uniform(-0.2, 1.2, (2, 2)) * [width, height]
        (xa, ya), (xb, yb) = ends.astype(int).tolist()
        cv2.line(picture, (xa, ya), (xb, yb), _colour(rng), int(rng.integers(1, 3)), cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 3))):
        centre, radii = (rng.uniform(0, 1, 2) * [width, height]).astype(int), rng.integers(15, 90, 2)
        start = rng.uniform(0, 360)
        stop = start + rng.uniform(40, 150)
        cv2.ellipse(picture, centre.tolist(), radii.tolist(), 0, start, stop, _colour(rng), 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 25))):
        x, y = (rng.uniform(0, 1, 2) * [width, height]).astype(int).tolist()
        cv2.circle(picture, (x, y), int(rng.integers(1, 3)), _colour(rng), -1, cv2.LINE_AA)


def _colour(rng: Generator) -> tuple[int, int, int]:
    blue, green, red = rng.integers(0, 256, 3).tolist()
    return blue, green, red


def _noise(rng: Generator, hw: tuple[int, int], period: float) -> NDArray[np.float32]:
    """(h, w) 0 to 1: random grey levels on a grid of `period` pixels, interpolated."""
    cells = rng.random((max(2, round(hw[0] / period)), max(2, round(hw[1] / period))), dtype=np.float32)
    return np.asarray(cv2.resize(cells, (hw[1], hw[0])), dtype=np.float32)


def _sharpen(wave: NDArray[np.float32], period: float) -> NDArray[np.float32]:
    """A wave of -1 to 1 -> bands of 0 and 1 whose edges are about a pixel wide."""
    return np.asarray(np.clip(wave * (period / 6) + 0.5, 0, 1), dtype=np.float32)
