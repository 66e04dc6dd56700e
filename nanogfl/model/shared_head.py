"""The GFL paper's head (arXiv:2006.04388): a tower for the classes and one for the box, both shared by the levels."""

import math

import torch
from torch import Tensor, nn

from nanogfl.config import Activation
from nanogfl.model.blocks import make_activation
from nanogfl.model.gfl_head import prior_bias

_NORM_GROUPS = 32


class SharedHead(nn.Module):
    """Levels (B, inputs, h, w) -> a list of (B, C + sides, h, w): C class logits, then left top right bottom.

    Towers of dense 3x3 convolutions with group norm. Levels of all strides meet the same weights; what they cannot
    share, the size of their answers, is a learned scale a level on the box's outputs.
    """

    def __init__(
        self,
        *,
        inputs: int,
        channels: int,
        convs: int,
        levels: int,
        class_count: int,
        sides: int,
        activation: Activation,
        prior: float,
    ) -> None:
        super().__init__()
        self.inputs, self.sides, self.prior = inputs, sides, prior
        self.class_tower = _tower(inputs, channels, convs, activation)
        self.box_tower = _tower(inputs, channels, convs, activation)
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
            self.join(self.class_output(self.class_tower(level)), scale * self.box_output(self.box_tower(level)))
            for level, scale in zip(levels, self.scales.unbind(), strict=True)
        ]

    def join(self, class_logits: Tensor, box: Tensor) -> Tensor:
        """(B, C, h, w) and (B, sides, h, w), scaled -> a level's answer. The only place where the two towers meet: what
        lets one speak in the other (a predicted quality, say) belongs here."""
        return torch.cat((class_logits, box), dim=1)


def _tower(inputs: int, channels: int, convs: int, activation: Activation) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(convs):
        layers += [
            nn.Conv2d(channels if number else inputs, channels, 3, padding=1, bias=False),
            nn.GroupNorm(math.gcd(_NORM_GROUPS, channels), channels),
            make_activation(activation),
        ]
    return nn.Sequential(*layers)
