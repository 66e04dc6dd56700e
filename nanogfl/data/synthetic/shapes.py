"""The shapes of the embedded data set: outlines of six classes, and their rendering as masks."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SHAPES = ("disc", "rectangle", "triangle", "star", "ring", "cross")
"""The class names; a label is the index."""

SUPERSAMPLING = 4
"""Masks are rendered this many times larger and averaged, so that edges are smooth and boxes exact to a pixel."""


@dataclass(frozen=True)
class Stencil:
    """A shape rendered into the part of the image that it touches."""

    top: int
    left: int
    coverage: NDArray[np.uint8]
    """(h, w) how much of each pixel the shape covers, 0 to 255; lies wholly inside the image"""
    edge: NDArray[np.uint8]
    """(h, w) how much of each pixel the shape's border line covers; never more than `coverage`"""
    inside: float
    """the share of the whole shape's pixels that lie inside the image"""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(h, w) the shape's pixels: those covered by half or more."""
        return np.asarray(self.coverage >= 128, dtype=np.bool_)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x1 y1 x2 y2 in image pixels, tight to a mask that is not empty: x2 is one past its last column."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        x1, y1 = self.left + int(columns[0]), self.top + int(rows[0])
        return x1, y1, self.left + int(columns[-1]) + 1, self.top + int(rows[-1]) + 1

    @property
    def window(self) -> tuple[slice, slice]:
        """The image's rows and columns that the stencil lies on."""
        height, width = self.coverage.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def contours(rng: Generator, label: int) -> list[NDArray[np.float64]]:
    """The outline of a class as closed polygons (n, 2) x y within the unit circle; a second polygon is a hole."""
    match SHAPES[label]:
        case "disc":
            return [_circle(1.0)]
        case "rectangle":
            return [_circle(1.0, 4) @ _turn(math.pi / 4) * [1.0, rng.uniform(0.65, 1.0)]]
        case "triangle":
            return [_circle(1.0, 3)]
        case "star":
            points = int(rng.integers(5, 7))
            star = _circle(1.0, 2 * points)
            star[1::2] *= rng.uniform(0.38, 0.5)
            return [star]
        case "ring":
            return [_circle(1.0), _circle(rng.uniform(0.5, 0.7))]
        case "cross":
            arm = rng.uniform(0.2, 0.32)
            quarter = np.array([[1.0, -arm], [1.0, arm], [arm, arm]]) * math.cos(math.atan(arm))
            return [np.concatenate([quarter @ _turn(k * math.pi / 2) for k in range(4)])]
        case other:
            raise AssertionError(other)


def render(outline: list[NDArray[np.float64]], border: float, image_hw: tuple[int, int]) -> Stencil | None:
    """Polygons (n, 2) x y in image pixels and a border's width -> their stencil; None where it is all outside.

    A pixel (column c, row r) is the square from (c, r) to (c + 1, r + 1).
    """
    points = np.concatenate(outline)
    x0, y0 = (int(v) for v in np.floor(points.min(axis=0)))
    x1, y1 = (int(v) for v in np.ceil(points.max(axis=0)))
    size = (max(1, x1 - x0), max(1, y1 - y0))
    large = np.zeros((size[1] * SUPERSAMPLING, size[0] * SUPERSAMPLING), dtype=np.uint8)
    # OpenCV's integer coordinates are pixel centres, hence the half
    polygons = [np.rint((p - [x0, y0]) * SUPERSAMPLING - 0.5).astype(np.int32) for p in outline]
    line = np.zeros_like(large)
    cv2.fillPoly(large, polygons, 255)
    cv2.polylines(line, polygons, True, 255, max(1, round(2 * border * SUPERSAMPLING)))
    whole = cv2.resize(large, size, interpolation=cv2.INTER_AREA)
    edge = cv2.resize(cv2.bitwise_and(line, large), size, interpolation=cv2.INTER_AREA)

    height, width = image_hw
    rows, columns = slice(max(0, -y0), max(0, height - y0)), slice(max(0, -x0), max(0, width - x0))
    clipped = np.asarray(whole[rows, columns], dtype=np.uint8)
    if not clipped.size:
        return None
    inside = int((clipped >= 128).sum()) / max(1, int((whole >= 128).sum()))
    clipped_edge = np.asarray(edge[rows, columns], dtype=np.uint8)
    return Stencil(max(0, y0), max(0, x0), clipped, clipped_edge, inside)


def place_outline(
    outline: list[NDArray[np.float64]], size: float, stretch: float, angle: float, centre: tuple[float, float]
) -> list[NDArray[np.float64]]:
    """Polygons (K, 2) in the unit circle -> (K, 2) in pixels: `size` is its diameter, `stretch` narrows one axis."""
    return [polygon * [size / 2, size / 2 * stretch] @ _turn(angle) + centre for polygon in outline]


def _circle(radius: float, points: int = 48) -> NDArray[np.float64]:
    angles = np.arange(points) * (2 * math.pi / points)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _turn(angle: float) -> NDArray[np.float64]:
    """(2, 2): x y @ this is x y turned by `angle`."""
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
