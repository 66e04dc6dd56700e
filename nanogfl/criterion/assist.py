"""The assign guidance module of NanoDet-Plus: a second neck and a heavy head that exist in training only."""

import copy
import math

import torch
from torch import Tensor, nn

from nanogfl.config import Activation, LossConfig
from nanogfl.model.blocks import make_activation
from nanogfl.model.detector import Detector, Predictions, read_levels
from nanogfl.model.gfl_head import prior_bias

CONVS = 4
_NORM_GROUPS = 32


class AssistBranch(nn.Module):
    """The backbone's features and the neck's levels -> predictions that assign for the detector and learn beside it.

    Its neck is a copy of the detector's; its head reads both necks' levels side by side. The detector neither holds it
    nor knows of it: optimise its parameters with the detector's, and save it beside the detector to resume.
    """

    def __init__(self, detector: Detector, config: LossConfig, activation: Activation) -> None:
        super().__init__()
        output = detector.head.outputs[0]
        assert isinstance(output, nn.Conv2d)
        self.neck = copy.deepcopy(detector.neck).requires_grad_(True)
        self.head = AssistHead(
            inputs=2 * output.in_channels,
            channels=config.assist_channels,
            levels=len(detector.neck.strides),
            class_count=detector.class_count,
            sides=output.out_channels - detector.class_count,
            activation=activation,
            prior=detector.head.prior,
        )
        self._class_count, self._level_sizes = detector.class_count, detector.grid.level_sizes

    def forward(self, features: list[Tensor], levels: list[Tensor], detach: bool) -> Predictions:
        """detach: learn without changing backbone and neck."""
        if detach:
            features, levels = [x.detach() for x in features], [x.detach() for x in levels]
        both = [torch.cat(pair, dim=1) for pair in zip(levels, self.neck(features), strict=True)]
        return read_levels(self.head(both), self._level_sizes, self._class_count)


class AssistHead(nn.Module):
    """Levels (B, inputs, h, w) -> (B, C + sides, h, w): a tower of dense 3x3 convolutions with group norm for the
    classes and one for the box, both shared by the levels, whose boxes differ by a learned scale."""

    def __init__(
        self,
        *,
        inputs: int,
        channels: int,
        levels: int,
        class_count: int,
        sides: int,
        activation: Activation,
        prior: float,
    ) -> None:
        super().__init__()
        self.class_tower = _tower(inputs, channels, activation)
        self.box_tower = _tower(inputs, channels, activation)
        self.class_output = nn.Conv2d(channels, class_count, 3, padding=1)
        self.box_output = nn.Conv2d(channels, sides, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(levels))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        assert self.class_output.bias is not None
        nn.init.constant_(self.class_output.bias, prior_bias(prior))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        return [
            torch.cat(
                (self.class_output(self.class_tower(level)), scale * self.box_output(self.box_tower(level))), dim=1
            )
            for level, scale in zip(levels, self.scales.unbind(), strict=True)
        ]


def _tower(inputs: int, channels: int, activation: Activation) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(CONVS):
        layers += [
            nn.Conv2d(channels if number else inputs, channels, 3, padding=1, bias=False),
            nn.GroupNorm(math.gcd(_NORM_GROUPS, channels), channels),
            make_activation(activation),
        ]
    return nn.Sequential(*layers)
