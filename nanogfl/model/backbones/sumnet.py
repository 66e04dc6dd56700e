"""SumNet, a backbone of plain layers: dense and depthwise 3x3 convolutions, 1x1 convolutions, ReLU and sums.

It has no shuffles, splits or concatenations, so a runtime only convolves and adds. Every batch norm folds into its
convolution on export.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from nanogfl.config import Activation, BackboneConfig
from nanogfl.model.blocks import ConvNorm, SumBlock


class SumNet(nn.Module):
    """Four stages of strides 4 to 32, each a dense 3x3 convolution of stride 2 and `SumBlock`s; the last three have the
    `channels`."""

    parts: Mapping[str, tuple[str, ...]] = {
        "stem": ("stem",),
        "stage1": ("stage1",),
        "stage2": ("stage2",),
        "stage3": ("stage3",),
        "stage4": ("stage4",),
    }
    """modules of each part that a recipe can name"""
    first_kernel = "stem.0.weight"

    def __init__(self, config: BackboneConfig, activation: Activation) -> None:
        super().__init__()
        widths, stem = config.channels, config.channels[0] // 2
        self.channels = widths[1:]
        self.stem = ConvNorm(3, stem, 3, activation, stride=2)
        self.stage1 = _stage(stem, widths[0], 0, config, activation)
        self.stage2 = _stage(widths[0], widths[1], 1, config, activation)
        self.stage3 = _stage(widths[1], widths[2], 2, config, activation)
        self.stage4 = _stage(widths[2], widths[3], 3, config, activation)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised images (B, 3, H, W) -> features (B, channels[i], H / s, W / s) for the strides s = 8, 16, 32."""
        x = self.stage1(self.stem(x))
        features = []
        for stage in (self.stage2, self.stage3, self.stage4):
            x = stage(x)
            features.append(x)
        return features


def _stage(inputs: int, outputs: int, number: int, config: BackboneConfig, activation: Activation) -> nn.Sequential:
    blocks = (SumBlock(outputs, config.expansion, config.kernel, activation) for _ in range(config.blocks[number]))
    return nn.Sequential(_down(inputs, outputs, config, activation, first=number == 0), *blocks)


def _down(inputs: int, outputs: int, config: BackboneConfig, activation: Activation, *, first: bool) -> nn.Module:
    if first or config.down == "dense":
        return ConvNorm(inputs, outputs, 3, activation, stride=2)
    return nn.Sequential(
        ConvNorm(inputs, inputs, config.kernel, None, stride=2, depthwise=True),
        ConvNorm(inputs, outputs, 1, activation),
    )
