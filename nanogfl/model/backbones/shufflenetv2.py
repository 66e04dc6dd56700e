"""ShuffleNetV2 (arXiv:1807.11164) without conv5 and classifier, with torchvision's parameter names."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nanogfl.config import Activation, BackboneConfig
from nanogfl.model.blocks import make_activation
from nanogfl.model.depthwise import DepthwiseConv2d

_CHANNELS = {"0.5x": (24, 48, 96, 192), "1.0x": (24, 116, 232, 464), "1.5x": (24, 176, 352, 704)}
_REPEATS = (4, 8, 4)


class ShuffleUnit(nn.Module):
    """Stride 1: half of the channels pass unchanged beside the convolved half. Stride 2: both branches convolve all
    channels. Both end with a shuffle of the channels."""

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.stride = stride
        half = outputs // 2
        branch_inputs = inputs if stride > 1 else half
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(
                DepthwiseConv2d(inputs, 3, stride),
                nn.BatchNorm2d(inputs),
                nn.Conv2d(inputs, half, 1, bias=False),
                nn.BatchNorm2d(half),
                make_activation(activation),
            )
        self.branch2 = nn.Sequential(
            nn.Conv2d(branch_inputs, half, 1, bias=False),
            nn.BatchNorm2d(half),
            make_activation(activation),
            DepthwiseConv2d(half, 3, stride),
            nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            make_activation(activation),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        if self.stride > 1:
            left, right = self.branch1(x), self.branch2(x)
        else:
            left, right = x.chunk(2, dim=1)
            right = self.branch2(right)
        return _interleave(left, right)


def _interleave(left: Tensor, right: Tensor) -> Tensor:
    """Two (B, c, H, W) -> (B, 2c, H, W) with channels left 0, right 0, left 1, ...: the shuffle of two groups."""
    joined = torch.cat((left, right), dim=1)
    _, channels, height, width = joined.shape
    groups = joined.view(-1, 2, channels // 2, height, width)
    return groups.transpose(1, 2).reshape(-1, channels, height, width)


class ShuffleNetV2(nn.Module):
    """The network up to its last features, which have `channels` channels at strides 8, 16 and 32."""

    parts: Mapping[str, tuple[str, ...]] = {
        "stem": ("conv1",),
        "stage2": ("stage2",),
        "stage3": ("stage3",),
        "stage4": ("stage4",),
    }
    """modules of each part that a recipe can name"""
    first_kernel = "conv1.0.weight"

    def __init__(self, config: BackboneConfig, activation: Activation) -> None:
        super().__init__()
        stem, *stages = _CHANNELS[config.width]
        self.channels = tuple(stages)
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), make_activation(activation)
        )
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stage2 = _stage(stem, stages[0], _REPEATS[0], activation)
        self.stage3 = _stage(stages[0], stages[1], _REPEATS[1], activation)
        self.stage4 = _stage(stages[1], stages[2], _REPEATS[2], activation)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised images (B, 3, H, W) -> features (B, channels[i], H / s, W / s) for the strides s = 8, 16, 32."""
        x = self.maxpool(self.conv1(x))
        features = []
        for stage in (self.stage2, self.stage3, self.stage4):
            x = stage(x)
            features.append(x)
        return features


def _stage(inputs: int, outputs: int, units: int, activation: Activation) -> nn.Sequential:
    first = ShuffleUnit(inputs, outputs, 2, activation)
    return nn.Sequential(first, *(ShuffleUnit(outputs, outputs, 1, activation) for _ in range(units - 1)))
