"""Homographies of whole images into training pictures, from uniform draws, for a batch and its layers at once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanogfl.config import AugmentConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.augment.draws import LayerDraw

Floats = NDArray[np.float64]


class Scales(NamedTuple):
    """Horizontal and vertical scale: zoom times stretch, without flips."""

    x: Floats
    y: Floats


def zooms(draws: Floats, limits: tuple[float, float]) -> Floats:
    """(..., 16) draws -> (...) zooms, log-uniform between the limits."""
    low, high = limits
    zoomed: Floats = low * (high / low) ** draws[..., LayerDraw.ZOOM]
    return zoomed


def draw_linear(draws: Floats, augment: AugmentConfig, zoom: Floats) -> Scales:
    """(..., 16) draws, (...) zooms -> scales whose aspect changes by up to 1 + augment.stretch, log-uniform."""
    aspect = (1 + augment.stretch) ** (draws[..., LayerDraw.STRETCH] - 0.5)
    return Scales(zoom * aspect, zoom / aspect)


def flip_signs(draws: Floats, augment: AugmentConfig) -> tuple[Floats, Floats]:
    """(..., 16) draws -> signs (...) along x and along y; -1: mirrored."""
    return (
        np.where(draws[..., LayerDraw.FLIP] < augment.flip, -1.0, 1.0),
        np.where(draws[..., LayerDraw.FLIP_VERTICAL] < augment.flip_vertical, -1.0, 1.0),
    )


def moved_pictures(
    draws: Floats,
    hw: NDArray[np.int64],
    scales: Floats,
    window: NDArray[np.int32],
    in_mosaic: NDArray[np.bool_],
    spec: InputSpec,
    augment: AugmentConfig,
) -> Floats:
    """(B, P, 16) draws -> (B, P, 3, 3) homographies, annotated source pixels to input pixels.

    `hw` (B, P, 2) as annotated, `scales` (B, P, 2) of the placement that `contract.preprocess` gives. About the input's
    centre: flips, zoom and stretch, rotate, shear, perspective; then a shift, or, in a mosaic, a uniform place in the
    slack of the `window` (B, P, 4), whether the image is larger than it or smaller.
    """
    zoom = zooms(draws, augment.scale)
    if in_mosaic.any():
        zoom = np.where(in_mosaic, zooms(draws, augment.mosaic_scale), zoom)
    a, b, c, d = _linear(draws, augment, zoom)
    height, width = spec.hw
    centre_x, centre_y = width / 2, height / 2

    # the image's corners, relative to the centre: (B, P, 4)
    columns = (hw[..., 1] * scales[..., 0])[..., None] * np.array([0, 1, 1, 0]) - centre_x
    rows = (hw[..., 0] * scales[..., 1])[..., None] * np.array([0, 0, 1, 1]) - centre_y
    corner_x = a[..., None] * columns + b[..., None] * rows
    corner_y = c[..., None] * columns + d[..., None] * rows
    tilt_x, tilt_y = np.zeros_like(a), np.zeros_like(a)
    if augment.perspective:
        # The depth is 1 at the centre and 1 +- perspective / 2 at the farthest corner's x, and likewise y: nowhere
        # in the image is it below 1 - perspective, so nothing is behind the camera.
        tilt_x = augment.perspective * (draws[..., LayerDraw.TILT_X] - 0.5) / np.abs(corner_x).max(axis=-1)
        tilt_y = augment.perspective * (draws[..., LayerDraw.TILT_Y] - 0.5) / np.abs(corner_y).max(axis=-1)
        depth = 1 + tilt_x[..., None] * corner_x + tilt_y[..., None] * corner_y
        corner_x, corner_y = corner_x / depth, corner_y / depth

    # where the centre goes
    shift_x, shift_y = draws[..., LayerDraw.SHIFT_X], draws[..., LayerDraw.SHIFT_Y]
    move_x = centre_x + width * augment.translate * (2 * shift_x - 1)
    move_y = centre_y + height * augment.translate * (2 * shift_y - 1)
    if in_mosaic.any():
        left, top, right, bottom = (window[..., side] for side in range(4))
        low_x, low_y = corner_x.min(axis=-1), corner_y.min(axis=-1)
        slack_x = right - left - (corner_x.max(axis=-1) - low_x)
        slack_y = bottom - top - (corner_y.max(axis=-1) - low_y)
        move_x = np.where(in_mosaic, left + shift_x * slack_x - low_x, move_x)
        move_y = np.where(in_mosaic, top + shift_y * slack_y - low_y, move_y)

    matrix = np.empty((*a.shape, 3, 3))
    offset_x, offset_y = -(a * centre_x + b * centre_y), -(c * centre_x + d * centre_y)
    for column, (x, y) in enumerate(((a, c), (b, d), (offset_x, offset_y))):
        depth = tilt_x * x + tilt_y * y + (column == 2)
        matrix[..., 0, column] = x + move_x * depth
        matrix[..., 1, column] = y + move_y * depth
        matrix[..., 2, column] = depth
    matrix[..., :2] *= scales[..., None, :]
    return matrix


def _linear(draws: Floats, augment: AugmentConfig, zoom: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """a b c d of x' = a x + b y, y' = c x + d y: flips, zoom and stretch, then rotation, then both shears."""
    scale_x, scale_y = draw_linear(draws, augment, zoom)
    sign_x, sign_y = flip_signs(draws, augment)
    a, d = scale_x * sign_x, scale_y * sign_y
    b, c = np.zeros_like(a), np.zeros_like(a)
    if augment.rotate:
        angle = np.deg2rad(augment.rotate) * (2 * draws[..., LayerDraw.ROTATE] - 1)
        cosine, sine = np.cos(angle), np.sin(angle)
        a, b, c, d = cosine * a, -sine * d, sine * a, cosine * d
    if augment.shear:
        slant_x, slant_y = (
            np.tan(np.deg2rad(augment.shear) * (2 * draws[..., draw] - 1))
            for draw in (LayerDraw.SHEAR_X, LayerDraw.SHEAR_Y)
        )
        a, b = a + slant_x * c, b + slant_x * d
        # one after the other: both at once would be singular where their product is 1
        c, d = c + slant_y * a, d + slant_y * b
    return a, b, c, d
