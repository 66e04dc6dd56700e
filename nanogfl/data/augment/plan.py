"""Random plans of a batch of training pictures: pure functions of (seed, epoch, position), whoever renders."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanogfl.config import AugmentConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.arrays import DataIndex
from nanogfl.data.augment.draws import LayerDraw, PictureDraw, Role, layer_draws, picture_draws, position_keys
from nanogfl.data.augment.geometry import Floats, draw_linear, flip_signs, moved_pictures, zooms

MIX_WEIGHT = (0.35, 0.65)
"""range of a mixup partner's weight: both images stay visible"""
CENTRE = (0.3, 0.7)
"""range of a mosaic's centre, as shares of the input's sides"""
LARGEST_PASTED = 0.5
"""largest pasted object, as a share of the input's sides: it never hides the picture"""

MOSAIC = [Role.MOSAIC_1, Role.MOSAIC_2, Role.MOSAIC_3]
PASTES = [Role.PASTE_1, Role.PASTE_2, Role.PASTE_3]


class Plans(NamedTuple):
    """B pictures of L layers, painted in order: a later window covers an earlier one.

    The last layer is the mixup partner, which is blended over all others. L depends on the settings, not on the draws.
    """

    index: NDArray[np.int64]  # type: ignore[assignment]  # tuple.index, which nobody calls on plans
    """(B, L) image of the data set; -1: no such layer"""
    matrix: NDArray[np.float64]
    """(B, L, 3, 3) annotated source pixels -> input pixels, continuous coordinates (a pixel's area is [x, x + 1))"""
    window: NDArray[np.int32]
    """(B, L, 4) x1 y1 x2 y2: whole input pixels that the layer paints"""
    only: NDArray[np.int64]
    """(B, L) the one object (its number in the image) of a pasted layer; -1: all. Only pasted layers cover others"""
    mix: NDArray[np.float32]
    """(B,) weight of the mixup partner; 0: none"""
    colour: NDArray[np.float32]
    """(B, 3, 4) BGR gains and offsets, in grey levels"""


def is_plain(augment: AugmentConfig, epoch: float, epochs: int) -> bool:
    """Whether this epoch, counted from 0, is one of the last, which go without mosaic, mixup and copy-paste.

    Of two or more epochs at least one does, unless plain_end is 0.
    """
    first = round(epochs * (1 - augment.plain_end))
    return epoch >= (min(first, epochs - 1) if augment.plain_end and epochs > 1 else first)


def draw_plans(
    index: DataIndex,
    own: NDArray[np.int64],
    positions: NDArray[np.int64],
    spec: InputSpec,
    augment: AugmentConfig,
    *,
    seed: int,
    epoch: int,
    plain: bool,
) -> Plans:
    """Plans of B pictures. `own` (B,): the images at `positions` (B,) of the epoch's order; `plain`: `is_plain`.

    Mosaic, copy-paste and mixup are drawn independently, so that a mosaic of probability 1 does not silently switch
    mixup off.
    """
    keys = position_keys(seed, epoch, positions)
    picture = picture_draws(keys)
    with_mosaic, with_paste, with_mixup = (
        not plain and probability > 0 for probability in (augment.mosaic, augment.copy_paste, augment.mixup)
    )
    roles = [Role.OWN, *(MOSAIC if with_mosaic else ()), *(PASTES if with_paste else ()), Role.MIXUP]
    count, layers = len(own), len(roles)
    height, width = spec.hw
    plans = Plans(
        np.full((count, layers), -1, dtype=np.int64),
        np.broadcast_to(np.eye(3), (count, layers, 3, 3)).copy(),
        np.broadcast_to(np.array([0, 0, width, height], dtype=np.int32), (count, layers, 4)).copy(),
        np.full((count, layers), -1, dtype=np.int64),
        np.zeros(count, dtype=np.float32),
        _colours(picture, augment),
    )
    mosaic = (picture[:, PictureDraw.MOSAIC] < augment.mosaic) & with_mosaic
    mixed = (picture[:, PictureDraw.MIXUP] < augment.mixup) & with_mixup
    plans.index[:, 0] = own
    if with_mosaic:
        _mosaic_windows(plans, picture, mosaic, spec)
    if with_mixup:
        low, high = MIX_WEIGHT
        plans.mix[:] = np.where(mixed, low + (high - low) * picture[:, PictureDraw.MIX_WEIGHT], 0)

    # whole images: the own one, the other windows of a mosaic, the mixup partner
    whole = [n for n, role in enumerate(roles) if role not in PASTES and (role != Role.MIXUP or with_mixup)]
    draws = layer_draws(keys, [roles[n] for n in whole])
    image = _pick(draws[..., LayerDraw.IMAGE], len(index))
    image[:, 0] = own
    in_mosaic = np.zeros(image.shape, dtype=np.bool_)
    in_mosaic[:, : 4 if with_mosaic else 1] = mosaic[:, None]
    plans.matrix[:, whole] = moved_pictures(
        draws, index.hw[image], index.scales(spec)[image], plans.window[:, whole], in_mosaic, spec, augment
    )
    present = in_mosaic.copy()
    present[:, 0] = True
    if with_mixup:
        present[:, -1] = mixed
    plans.index[:, whole] = np.where(present, image, -1)

    if with_paste and len(index.pasteable):
        where = slice(roles.index(Role.PASTE_1), layers - 1)
        pasted = picture[:, PictureDraw.PASTE] < augment.copy_paste
        amount = np.where(pasted, 1 + _pick(picture[:, PictureDraw.PASTE_COUNT], len(PASTES)), 0)
        _paste(plans, where, layer_draws(keys, PASTES), amount, index, spec, augment)
    return plans


def _pick(draw: Floats, count: int) -> NDArray[np.int64]:
    """Uniform draws -> integers in 0 .. count - 1."""
    return (draw * count).astype(np.int64)  # below count: a draw is at most 1 - 2^-53


def _mosaic_windows(plans: Plans, picture: Floats, mosaic: NDArray[np.bool_], spec: InputSpec) -> None:
    """The four windows around a random centre, own image first: top left, top right, bottom left, bottom right."""
    height, width = spec.hw
    low, high = CENTRE
    x = np.rint(width * (low + (high - low) * picture[:, PictureDraw.CENTRE_X]))
    y = np.rint(height * (low + (high - low) * picture[:, PictureDraw.CENTRE_Y]))
    left, right, top, bottom = np.zeros_like(x), np.full_like(x, width), np.zeros_like(y), np.full_like(y, height)
    sides = [[left, top, x, y], [x, top, right, y], [left, y, x, bottom], [x, y, right, bottom]]
    windows = np.array(sides, dtype=np.int32).transpose(2, 0, 1)
    plans.window[:, :4] = np.where(mosaic[:, None, None], windows, plans.window[:, :4])


def _paste(
    plans: Plans,
    where: slice,
    draws: Floats,
    amount: NDArray[np.int64],
    index: DataIndex,
    spec: InputSpec,
    augment: AugmentConfig,
) -> None:
    """Adds pasted objects: upright rectangles anywhere in the input, whose windows are exactly their boxes."""
    group = _pick(draws[..., LayerDraw.IMAGE], len(index.pasteable_images))
    first, last = index.pasteable_start[group], index.pasteable_start[group + 1]
    chosen = index.pasteable[first + (draws[..., LayerDraw.OBJECT] * (last - first)).astype(np.int64)]
    image = index.pasteable_images[group]
    box = index.boxes[chosen].astype(np.float64)  # (B, 3, 4)
    source = box[..., 2:] - box[..., :2]
    limit = np.array(spec.hw[::-1])
    size = source * index.scales(spec)[image] * np.stack(draw_linear(draws, augment, zooms(draws, augment.scale)), -1)
    size *= np.minimum(1, (LARGEST_PASTED * limit / size).min(axis=-1, keepdims=True))
    size = np.maximum(np.rint(size), 2)
    corner = np.floor(draws[..., [LayerDraw.SHIFT_X, LayerDraw.SHIFT_Y]] * (limit - size + 1))
    scale = size / source
    forward = np.stack(flip_signs(draws, augment), axis=-1) > 0
    present = np.arange(len(PASTES)) < amount[:, None]
    matrix = np.zeros((*image.shape, 3, 3))
    for axis in (0, 1):
        matrix[..., axis, axis] = np.where(forward[..., axis], 1, -1) * scale[..., axis]
        start = np.where(forward[..., axis], box[..., axis], box[..., axis + 2])  # what lands on the window's edge
        matrix[..., axis, 2] = corner[..., axis] - matrix[..., axis, axis] * start
    matrix[..., 2, 2] = 1
    plans.index[:, where] = np.where(present, image, -1)
    plans.only[:, where] = np.where(present, chosen - index.start[image], -1)
    plans.matrix[:, where] = matrix
    plans.window[:, where] = np.concatenate([corner, corner + size], axis=-1)


def _colours(picture: Floats, augment: AugmentConfig) -> NDArray[np.float32]:
    """(B, 3, 4) affine maps: saturation about the pixel's luma, then contrast about mid-grey, then brightness."""
    offset = 255 * augment.brightness * (2 * picture[:, PictureDraw.BRIGHTNESS] - 1)
    contrast = 1 + augment.contrast * (2 * picture[:, PictureDraw.CONTRAST] - 1)
    saturation = (1 + augment.saturation * (2 * picture[:, PictureDraw.SATURATION] - 1))[:, None, None]
    luma = np.array([0.114, 0.587, 0.299])  # BT.601, blue green red
    colours = np.empty((len(picture), 3, 4), dtype=np.float32)
    colours[:, :, :3] = contrast[:, None, None] * (saturation * np.eye(3) + (1 - saturation) * luma)
    colours[:, :, 3] = (127.5 * (1 - contrast) + offset)[:, None]
    return colours
