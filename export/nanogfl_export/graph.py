"""What is traced: the trained detector, composed with the one decode. Nothing is computed here a second time."""

from typing import NamedTuple

from torch import Tensor, nn

from nanogfl.model.decode import decode_boxes, decode_spread
from nanogfl.model.detector import Detector


class RawTensors(NamedTuple):
    boxes: Tensor
    """(B, N, 4) x1 y1 x2 y2 in network-input pixels"""
    scores: Tensor
    """(B, N, C)"""
    spread: Tensor
    """(B, N, 4) standard deviation of left, top, right, bottom in pixels"""


class RawGraph(nn.Module):
    """uint8 (B, H, W, 3) BGR -> every point's boxes, scores and spread: the `raw` format of the ONNX contract."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> RawTensors:
        predictions = self.detector(image)
        grid = self.detector.grid
        return RawTensors(
            decode_boxes(predictions.dist_logits, grid),
            predictions.cls_logits.sigmoid(),
            decode_spread(predictions.dist_logits, grid),
        )
