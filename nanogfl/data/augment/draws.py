"""Stateless random numbers: each is a hash of (seed, epoch, position, draw) and depends on no other.

Every draw has a fixed number. A setting that needs no random number leaves its draw unused.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, the increment of splitmix64 (doi:10.1145/2660193.2660195)
_WIDTH = 16
"""draws per picture, and per layer of it"""


class PictureDraw(IntEnum):
    MOSAIC = 0
    CENTRE_X = 1
    CENTRE_Y = 2
    PASTE = 3
    PASTE_COUNT = 4
    MIXUP = 5
    MIX_WEIGHT = 6
    BRIGHTNESS = 7
    CONTRAST = 8
    SATURATION = 9


class LayerDraw(IntEnum):
    IMAGE = 0
    OBJECT = 1
    ZOOM = 2
    STRETCH = 3
    SHIFT_X = 4
    SHIFT_Y = 5
    FLIP = 6
    FLIP_VERTICAL = 7
    ROTATE = 8
    SHEAR_X = 9
    SHEAR_Y = 10
    TILT_X = 11
    TILT_Y = 12


class Role(IntEnum):
    """What a layer is for. Its draws depend on its role, and on no other layer of the picture."""

    OWN = 0
    MOSAIC_1 = 1
    MOSAIC_2 = 2
    MOSAIC_3 = 3
    PASTE_1 = 4
    PASTE_2 = 5
    PASTE_3 = 6
    MIXUP = 7


def position_keys(seed: int, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(B,) positions -> (B,) keys; each of seed, epoch and position is hashed before the next is added."""
    key = np.zeros(1, dtype=np.uint64)
    for part in (seed, epoch):
        key = _mix(key + _STEP + np.array([part & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))
    return _mix(key + _STEP + positions.astype(np.uint64))


def picture_draws(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """(B,) keys -> (B, 16) uniform in [0, 1), indexed by PictureDraw."""
    return _uniform(keys[:, None], np.arange(_WIDTH))


def layer_draws(keys: NDArray[np.uint64], roles: list[Role]) -> NDArray[np.float64]:
    """(B,) keys and P roles -> (B, P, 16) uniform in [0, 1), indexed by LayerDraw."""
    numbers = (np.array(roles, dtype=np.int64)[:, None] + 1) * _WIDTH + np.arange(_WIDTH)
    return _uniform(keys[:, None, None], numbers)


def _uniform(keys: NDArray[np.uint64], draws: NDArray[np.int64]) -> NDArray[np.float64]:
    bits = _mix(keys + _STEP * (draws + 1).astype(np.uint64))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finaliser: every input bit changes every output bit with probability about one half."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
