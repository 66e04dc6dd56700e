"""The GFL head (arXiv:2006.04388) as in NanoDet: a tower of separable convolutions per level for class and box."""

import math

from torch import Tensor, nn

from nanogfl.config import Activation, HeadConfig
from nanogfl.model.blocks import SeparableConv
from nanogfl.model.heads.dgqp import build_dgqp
from nanogfl.model.heads.layout import HeadLayout


def prior_bias(prior: float) -> float:
    """The bias of the class logits that makes every score start at `prior`. Focal loss, arXiv:1708.02002, sec. 4.1."""
    return -math.log((1 - prior) / prior)


class GflHead(nn.Module):
    """A tower and an output convolution per level; `layout` names the channels of the output."""

    def __init__(
        self, config: HeadConfig, channels: int, levels: int, class_count: int, activation: Activation
    ) -> None:
        super().__init__()
        self.inputs, self.prior = channels, config.prior
        self.layout, self.dgqp = HeadLayout.of(config, class_count), build_dgqp(config)
        self.towers = nn.ModuleList(
            nn.Sequential(*(SeparableConv(channels, channels, config.kernel, activation) for _ in range(config.convs)))
            for _ in range(levels)
        )
        self.outputs = nn.ModuleList(nn.Conv2d(channels, self.layout.rows, 1) for _ in range(levels))
        for output in self.outputs:
            assert isinstance(output, nn.Conv2d)
            assert output.bias is not None
            nn.init.normal_(output.weight, std=0.01)
            nn.init.zeros_(output.bias)
            nn.init.constant_(output.bias[: self.layout.class_rows], prior_bias(config.prior))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """(B, channels, h, w) -> (B, rows, h, w) for each level."""
        return [output(tower(level)) for level, tower, output in zip(levels, self.towers, self.outputs, strict=True)]
