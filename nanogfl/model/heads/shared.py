"""The papers' head (RetinaNet, ATSS, GFL): one tower for the classes and one for the box serve all levels."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from nanogfl.config import Activation
from nanogfl.model.blocks import make_activation
from nanogfl.model.heads.dgqp import Dgqp
from nanogfl.model.heads.layout import HeadLayout
from nanogfl.model.heads.per_level import prior_bias

_NORM_GROUPS = 32
Norm = Literal["group", "none"]


class SharedHead(nn.Module):
    """Two towers of dense 3x3 convolutions with group norm; `layout` names the channels of the output.

    All levels use the same weights. A learned scale per level multiplies the box outputs, whose size differs between
    levels. A quality output reads the box tower.
    """

    def __init__(
        self,
        layout: HeadLayout,
        *,
        inputs: int,
        channels: int,
        convs: int,
        levels: int,
        activation: Activation,
        norm: Norm,
        prior: float,
        dgqp: Dgqp | None,
    ) -> None:
        super().__init__()
        self.layout, self.inputs, self.prior = layout, inputs, prior
        self.class_tower = _tower(inputs, channels, convs, activation, norm)
        self.box_tower = _tower(inputs, channels, convs, activation, norm)
        self.class_output = nn.Conv2d(channels, layout.class_rows, 3, padding=1)
        self.box_output = nn.Conv2d(channels, layout.box_rows, 3, padding=1)
        self.quality_output = nn.Conv2d(channels, 1, 3, padding=1) if layout.quality else None
        self.scales = nn.Parameter(torch.ones(levels))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.dgqp = dgqp  # after the loop: it initialises itself
        assert self.class_output.bias is not None
        nn.init.constant_(self.class_output.bias, prior_bias(prior))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """(B, inputs, h, w) -> (B, rows, h, w) for each level."""
        return [self._answer(level, scale) for level, scale in zip(levels, self.scales.unbind(), strict=True)]

    def _answer(self, level: Tensor, scale: Tensor) -> Tensor:
        of_box = self.box_tower(level)
        rows = [self.class_output(self.class_tower(level)), scale * self.box_output(of_box)]
        if self.quality_output is not None:
            rows.append(self.quality_output(of_box))
        return torch.cat(rows, dim=1)


def norm_groups(channels: int) -> int:
    """Groups of the group norm: 32 as in the papers, or the largest divisor of 32 and `channels`. A group has at least
    two channels: normalised alone, a channel would lose its scale."""
    groups = math.gcd(_NORM_GROUPS, channels)
    return groups if groups < channels else channels // 2


def _tower(inputs: int, channels: int, convs: int, activation: Activation, norm: Norm) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(convs):
        layers.append(nn.Conv2d(channels if number else inputs, channels, 3, padding=1, bias=norm == "none"))
        if norm == "group":
            layers.append(nn.GroupNorm(norm_groups(channels), channels))
        layers.append(make_activation(activation))
    return nn.Sequential(*layers)
