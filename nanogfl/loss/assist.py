"""The assign guidance module of NanoDet-Plus: a second neck and a larger head, for training only."""

import copy

import torch
from torch import Tensor, nn

from nanogfl.config import Activation, LossConfig
from nanogfl.model.detector import Detector, Predictions, read_levels
from nanogfl.model.heads.dgqp import build_dgqp
from nanogfl.model.heads.shared import SharedHead

CONVS = 4


class AssistBranch(nn.Module):
    """An auxiliary branch whose predictions assign for the detector and which is trained beside it.

    Its neck is a copy of the detector's; its head reads the concatenated levels of both necks. It is not part of the
    detector: optimise its parameters with the detector's, and save both to resume.
    """

    def __init__(self, detector: Detector, config: LossConfig, activation: Activation) -> None:
        super().__init__()
        self.neck = copy.deepcopy(detector.neck).requires_grad_(True)
        guided = detector.head
        self.head = SharedHead(
            guided.layout,
            inputs=2 * guided.inputs,
            channels=config.assist_channels,
            convs=CONVS,
            levels=len(detector.neck.strides),
            activation=activation,
            norm="group",
            prior=guided.prior,
            dgqp=build_dgqp(detector.grid.head),
        )
        self._level_sizes = detector.grid.level_sizes

    def forward(self, features: list[Tensor], levels: list[Tensor], detach: bool) -> Predictions:
        """Features of the backbone and levels of the detector's neck (B, channels, h, w) -> predictions for N points.
        `detach`: no gradient reaches backbone and neck."""
        if detach:
            features, levels = [x.detach() for x in features], [x.detach() for x in levels]
        both = [torch.cat(pair, dim=1) for pair in zip(levels, self.neck(features), strict=True)]
        return read_levels(self.head(both), self._level_sizes, self.head.layout, self.head.dgqp)
