"""The modules that are traced: the detector, and its decode for any set of points. They only call the model's code."""

from torch import Tensor, nn

from nanogfl.config import HeadConfig
from nanogfl.model.boxes.decode import Grid, bin_probabilities, decode_boxes, decode_spread
from nanogfl.model.detector import Detector


class NetworkOutputs(nn.Module):
    """image uint8 (B, H, W, 3) -> the predictions that the detector has, named by `network_outputs`."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor for tensor in self.detector(image) if tensor is not None)


def network_outputs(head: HeadConfig) -> list[str]:
    """The names in order, which are fields of Predictions."""
    return ["cls_logits", "box_pred"] + ["quality_logits"] * (head.dgqp or head.has_quality_branch)


class RowDecode(nn.Module):
    """Decodes Q points: box_pred (B, Q, 4, P), points x y (B, Q, 2) and unit -> the tensors that `decoded_rows` names.

    `unit`: strides (B, Q), or for box deltas the sizes of the anchors (B, Q, 2).
    """

    def __init__(self, head: HeadConfig) -> None:
        super().__init__()
        self.head = head

    def forward(self, box_pred: Tensor, points: Tensor, unit: Tensor) -> tuple[Tensor, ...]:
        anchors = unit if self.head.box == "deltas" else None
        grid = Grid(points, unit, (), self.head, anchors)
        rows = (decode_boxes(box_pred, grid), decode_spread(box_pred, grid))
        distributions = (bin_probabilities(box_pred),) if self.head.bins else ()
        return tuple(tensor for tensor in (*rows, *distributions) if tensor is not None)


def decoded_rows(head: HeadConfig) -> dict[str, list[int]]:
    """Name -> sizes behind (B, Q), in order.

    boxes x1 y1 x2 y2 and spread (standard deviation of left, top, right, bottom) in network-input pixels, and the
    probability of each bin; the last two where the head has them.
    """
    rows = {"boxes": [4]}
    if head.has_spread:
        rows["spread"] = [4]
    if head.bins:
        rows["distributions"] = [4, head.bins]
    return rows
