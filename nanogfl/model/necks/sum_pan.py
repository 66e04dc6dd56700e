"""A path aggregation network (arXiv:1803.01534) that adds where NanoDet-Plus's concatenates."""

from torch import Tensor, nn
from torch.nn import functional as F

from nanogfl.config import Activation, NeckConfig
from nanogfl.model.blocks import ConvNorm, SeparableConv, SumBlock

_EXPANSION, _KERNEL = 2, 3


class SumPan(nn.Module):
    """Three levels in, of strides 8, 16 and 32; the same out, and with the extra level stride 64.

    From coarse to fine each level is added to the next, enlarged by repetition; from fine to coarse it is added after a
    separable convolution of stride 2. A `SumBlock` follows each sum.
    """

    def __init__(self, config: NeckConfig, inputs: tuple[int, ...], activation: Activation) -> None:
        super().__init__()
        width, steps = config.channels, len(inputs) - 1
        self.strides = (8, 16, 32, 64) if config.extra_level else (8, 16, 32)
        self.laterals = nn.ModuleList(ConvNorm(channels, width, 1, activation) for channels in inputs)
        self.top_down = nn.ModuleList(SumBlock(width, _EXPANSION, _KERNEL, activation) for _ in range(steps))
        self.downsample = nn.ModuleList(
            SeparableConv(width, width, _KERNEL, activation, stride=2) for _ in range(len(self.strides) - 1)
        )
        self.bottom_up = nn.ModuleList(SumBlock(width, _EXPANSION, _KERNEL, activation) for _ in range(steps))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """(B, inputs[i], H / s, W / s) for s = 8, 16, 32 -> (B, channels, ceil(H / s), ceil(W / s)) for `strides`."""
        levels = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for low, block in zip(range(len(levels) - 2, -1, -1), self.top_down, strict=True):
            levels[low] = block(levels[low] + F.interpolate(levels[low + 1], scale_factor=2.0, mode="nearest"))
        for high, block in enumerate(self.bottom_up, start=1):
            levels[high] = block(levels[high] + self.downsample[high - 1](levels[high - 1]))
        return [*levels, *(down(levels[-1]) for down in self.downsample[len(self.bottom_up) :])]
