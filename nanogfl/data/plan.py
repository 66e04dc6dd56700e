"""The random plan of one training image: a pure function of (seed, epoch, position), whoever renders it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nanogfl.config import AugmentConfig
from nanogfl.contract.preprocess import InputSpec, place


@dataclass(frozen=True)
class Plan:
    """What happens to a source image on its way to the network input."""

    matrix: NDArray[np.float64]
    """(2, 3) source pixels -> input pixels, continuous coordinates (a pixel's area is [x, x + 1))"""
    colour: NDArray[np.float32]
    """(3, 4) BGR gains and offsets, in grey levels"""


def identity_plan(source_hw: tuple[int, int], spec: InputSpec) -> Plan:
    """What validation and the device do: `contract.preprocess`."""
    placement = place(source_hw, spec)
    matrix = np.array([[placement.scale_x, 0, 0], [0, placement.scale_y, 0]], dtype=np.float64)
    return Plan(matrix, np.eye(3, 4, dtype=np.float32))


def draw_plan(
    source_hw: tuple[int, int], spec: InputSpec, augment: AugmentConfig, *, seed: int, epoch: int, position: int
) -> Plan:
    """`position` is the image's place in the epoch's order."""
    random = np.random.default_rng((seed, epoch, position, 1))  # 1: another stream than (seed, epoch), the order's
    placed = np.vstack([identity_plan(source_hw, spec).matrix, [0, 0, 1]])
    height, width = spec.hw

    # One draw each, in a fixed order, so that a changed setting does not shift the other draws.
    zoom, stretch, shift_x, shift_y, flip, flip_vertical = random.random(6)
    brightness, contrast, saturation = 2 * random.random(3) - 1

    low, high = augment.scale
    scale = low * (high / low) ** zoom
    aspect = math.sqrt((1 + augment.stretch) ** (2 * stretch - 1))
    scale_x, scale_y = scale * aspect, scale / aspect
    if flip < augment.flip:
        scale_x = -scale_x
    if flip_vertical < augment.flip_vertical:
        scale_y = -scale_y
    # about the input's centre, then shifted
    move_x = width * (0.5 + augment.translate * (2 * shift_x - 1)) - scale_x * width / 2
    move_y = height * (0.5 + augment.translate * (2 * shift_y - 1)) - scale_y * height / 2
    change = np.array([[scale_x, 0, move_x], [0, scale_y, move_y], [0, 0, 1]])
    colour = _colour(
        augment.brightness * brightness, 1 + augment.contrast * contrast, 1 + augment.saturation * saturation
    )
    return Plan((change @ placed)[:2], colour)


def _colour(brightness: float, contrast: float, saturation: float) -> NDArray[np.float32]:
    """Saturation about the pixel's own luma, then contrast about mid-grey, then brightness: one affine."""
    luma = np.array([0.114, 0.587, 0.299])  # BT.601, blue green red
    gains = contrast * (saturation * np.eye(3) + (1 - saturation) * luma)
    offset = 127.5 * (1 - contrast) + 255 * brightness
    return np.concatenate([gains, np.full((3, 1), offset)], axis=1).astype(np.float32)
