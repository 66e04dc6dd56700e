"""The GFL head (arXiv:2006.04388): class-quality logits and one distribution a box side from a shared tower a level."""

import math

from torch import Tensor, nn

from nanogfl.config import Activation, HeadConfig
from nanogfl.model.blocks import SeparableConv


def prior_bias(prior: float) -> float:
    """The logit of the probability that a class starts at. Focal Loss, arXiv:1708.02002, sec. 4.1."""
    return -math.log((1 - prior) / prior)


class GflHead(nn.Module):
    """Levels (B, channels, h, w) -> a list of (B, C + 4 (R + 1), h, w): C class logits, then left top right bottom."""

    def __init__(
        self, config: HeadConfig, channels: int, levels: int, class_count: int, activation: Activation
    ) -> None:
        super().__init__()
        self.prior = config.prior
        self.towers = nn.ModuleList(
            nn.Sequential(*(SeparableConv(channels, channels, config.kernel, activation) for _ in range(config.convs)))
            for _ in range(levels)
        )
        self.inputs, self.sides = channels, 4 * (config.reg_max + 1)
        outputs = class_count + self.sides
        self.outputs = nn.ModuleList(nn.Conv2d(channels, outputs, 1) for _ in range(levels))
        for output in self.outputs:
            assert isinstance(output, nn.Conv2d)
            assert output.bias is not None
            nn.init.normal_(output.weight, std=0.01)
            nn.init.zeros_(output.bias)
            nn.init.constant_(output.bias[:class_count], prior_bias(config.prior))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        # Classes and box leave one convolution together: rows [:C] and [C:] of `outputs` (SharedHead.join likewise).
        return [output(tower(level)) for level, tower, output in zip(levels, self.towers, self.outputs, strict=True)]
