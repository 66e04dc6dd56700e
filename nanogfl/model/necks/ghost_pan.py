"""GhostPAN as in NanoDet-Plus: path aggregation by concatenation and ghost blocks (GhostNet, arXiv:1911.11907)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanogfl.config import Activation, NeckConfig
from nanogfl.model.blocks import ConvNorm, SeparableConv

_KERNEL = 5  # of the depthwise convolutions


class Ghost(nn.Module):
    """A 1x1 convolution makes half of the output; a cheap depthwise 3x3 of it makes the other half."""

    def __init__(self, inputs: int, outputs: int, activation: Activation | None) -> None:
        super().__init__()
        half = outputs // 2
        self.primary = ConvNorm(inputs, half, 1, activation)
        self.cheap = ConvNorm(half, half, 3, activation, depthwise=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        primary = self.primary(x)
        return torch.cat((primary, self.cheap(primary)), dim=1)


class GhostBottleneck(nn.Module):
    """Two ghost modules beside a depthwise-separable shortcut without activations."""

    def __init__(self, inputs: int, outputs: int, activation: Activation) -> None:
        super().__init__()
        self.ghost1 = Ghost(inputs, outputs, activation)
        self.ghost2 = Ghost(outputs, outputs, None)
        self.shortcut = nn.Sequential(
            ConvNorm(inputs, inputs, _KERNEL, None, depthwise=True), ConvNorm(inputs, outputs, 1, None)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        out: Tensor = self.ghost2(self.ghost1(x)) + self.shortcut(x)
        return out


class GhostPan(nn.Module):
    """Three levels in, of strides 8, 16 and 32; the same out, and with the extra level stride 64."""

    def __init__(self, config: NeckConfig, inputs: tuple[int, ...], activation: Activation) -> None:
        super().__init__()
        width, levels = config.channels, len(inputs)
        self.strides = (8, 16, 32, 64) if config.extra_level else (8, 16, 32)
        self.reduce = nn.ModuleList(ConvNorm(channels, width, 1, activation) for channels in inputs)
        self.top_down = nn.ModuleList(GhostBottleneck(2 * width, width, activation) for _ in range(levels - 1))
        self.downsample = nn.ModuleList(
            SeparableConv(width, width, _KERNEL, activation, stride=2) for _ in range(levels - 1)
        )
        self.bottom_up = nn.ModuleList(GhostBottleneck(2 * width, width, activation) for _ in range(levels - 1))
        self.extra_in: SeparableConv | None = None
        self.extra_out: SeparableConv | None = None
        if config.extra_level:
            self.extra_in = SeparableConv(width, width, _KERNEL, activation, stride=2)
            self.extra_out = SeparableConv(width, width, _KERNEL, activation, stride=2)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """(B, inputs[i], H / s, W / s) for s = 8, 16, 32 -> (B, channels, ceil(H / s), ceil(W / s)) for `strides`."""
        reduced = [reduce(feature) for reduce, feature in zip(self.reduce, features, strict=True)]
        inner = [reduced[-1]]  # coarse to fine
        for block, low in zip(self.top_down, reversed(reduced[:-1]), strict=True):
            up = F.interpolate(inner[-1], scale_factor=2.0, mode="bilinear", align_corners=False)
            inner.append(block(torch.cat((up, low), dim=1)))
        inner.reverse()
        out = [inner[0]]
        for downsample, block, high in zip(self.downsample, self.bottom_up, inner[1:], strict=True):
            out.append(block(torch.cat((downsample(out[-1]), high), dim=1)))
        if self.extra_in is not None and self.extra_out is not None:
            out.append(self.extra_in(reduced[-1]) + self.extra_out(out[-1]))
        return out
