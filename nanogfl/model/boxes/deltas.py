"""Boxes as offsets from anchors, as in RetinaNet and R-CNN (arXiv:1311.2524, appendix C)."""

import math

import torch
from torch import Tensor

LARGEST_LOG = math.log(1000 / 16)
"""a side is decoded to at most 62.5 times its anchor's: the guard against inf of Faster R-CNN and Detectron"""


def decode_deltas(deltas: Tensor, centres: Tensor, sizes: Tensor) -> Tensor:
    """Deltas dx dy dw dh (..., 4), centres and sizes of anchors (..., 2) -> boxes (..., 4) x1 y1 x2 y2 in the anchors'
    pixels: centre + d * side, and side * exp(d) with d at most LARGEST_LOG."""
    deltas = deltas.float()
    centre = centres + deltas[..., :2] * sizes
    half = sizes * deltas[..., 2:].clamp(max=LARGEST_LOG).exp() * 0.5
    return torch.cat((centre - half, centre + half), dim=-1)


def encode_deltas(boxes: Tensor, centres: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (..., 4), centres and sizes of anchors (..., 2) -> (..., 4), the deltas that decode to the boxes. An empty
    side gives -inf."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat((((low + high) * 0.5 - centres) / sizes, ((high - low) / sizes).log()), dim=-1)
