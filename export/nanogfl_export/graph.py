"""What is traced beside the detector itself: its one decode, of chosen points. Nothing is computed here anew."""

from typing import NamedTuple

from torch import Tensor, nn

from nanogfl.model.decode import Grid, decode_boxes, decode_spread


class DecodedRows(NamedTuple):
    boxes: Tensor
    """(B, Q, 4) x1 y1 x2 y2 in network-input pixels"""
    spread: Tensor
    """(B, Q, 4) standard deviation of left, top, right, bottom in pixels"""
    distributions: Tensor
    """(B, Q, 4, R + 1) probability of each bin"""


class RowDecode(nn.Module):
    """Distributions' logits (B, Q, 4, R + 1) of Q points, their x y (B, Q, 2) and strides (B, Q) -> DecodedRows."""

    def forward(self, dist_logits: Tensor, points: Tensor, strides: Tensor) -> DecodedRows:
        grid = Grid(points, strides, ())
        return DecodedRows(
            decode_boxes(dist_logits, grid), decode_spread(dist_logits, grid), dist_logits.softmax(dim=-1)
        )
