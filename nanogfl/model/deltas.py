"""Boxes as offsets from anchors, RetinaNet's representation: arXiv:1311.2524, appendix C."""

import math

import torch
from torch import Tensor

LARGEST_GROWTH = math.log(1000 / 16)
"""a side is at most e to this times its anchor's: Faster R-CNN's guard against overflow"""


def decode_deltas(deltas: Tensor, centres: Tensor, sizes: Tensor) -> Tensor:
    """(..., 4) dx dy dw dh from anchors with centres (..., 2) x y and sizes (..., 2) w h -> (..., 4) x1 y1 x2 y2."""
    centre = centres + deltas[..., :2] * sizes
    half = sizes * deltas[..., 2:].clamp(max=LARGEST_GROWTH).exp() / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def encode_deltas(boxes: Tensor, centres: Tensor, sizes: Tensor) -> Tensor:
    """The inverse, for boxes with positive sides: (..., 4) x1 y1 x2 y2 -> (..., 4) dx dy dw dh."""
    middle, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    return torch.cat(((middle - centres) / sizes, (sides / sizes).log()), dim=-1)
