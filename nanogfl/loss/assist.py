"""The assign guidance module of NanoDet-Plus: a second neck and a heavy head that exist in training only."""

import copy

import torch
from torch import Tensor, nn

from nanogfl.config import Activation, LossConfig
from nanogfl.model.detector import Detector, Predictions, read_levels
from nanogfl.model.heads.dgqp import build_dgqp
from nanogfl.model.heads.shared import SharedHead

CONVS = 4


class AssistBranch(nn.Module):
    """The backbone's features and the neck's levels -> predictions that assign for the detector and learn beside it.

    Its neck is a copy of the detector's; its head reads both necks' levels side by side. The detector neither holds it
    nor knows of it: optimise its parameters with the detector's, and save it beside the detector to resume.
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
        """detach: learn without changing backbone and neck."""
        if detach:
            features, levels = [x.detach() for x in features], [x.detach() for x in levels]
        both = [torch.cat(pair, dim=1) for pair in zip(levels, self.neck(features), strict=True)]
        return read_levels(self.head(both), self._level_sizes, self.head.layout, self.head.dgqp)
