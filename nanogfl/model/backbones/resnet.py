"""ResNet (arXiv:1512.03385) without its classifier, with torchvision's parameter names and arithmetic."""

from collections.abc import Mapping

from torch import Tensor, nn

from nanogfl.config import Activation, BackboneConfig
from nanogfl.model.blocks import make_activation

_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
_WIDTHS = (64, 128, 256, 512)  # of the 3x3 convolutions, per stage
_BASIC = ("resnet18", "resnet34")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which has a 1x1 convolution where the size changes."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.activation = make_activation(activation)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width * expansion, H / stride, W / stride)."""
        out = self.activation(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        joined: Tensor = self.activation(out + (x if self.downsample is None else self.downsample(x)))
        return joined


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut. The 3x3 has the stride ("v1.5"; in the paper the first 1x1)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, activation: Activation) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.activation = make_activation(activation)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width * expansion, H / stride, W / stride)."""
        out = self.activation(self.bn1(self.conv1(x)))
        out = self.activation(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        joined: Tensor = self.activation(out + (x if self.downsample is None else self.downsample(x)))
        return joined


class ResNet(nn.Module):
    """The network up to its last features, which have `channels` channels at strides 8, 16 and 32."""

    parts: Mapping[str, tuple[str, ...]] = {
        "stem": ("conv1", "bn1"),
        "stage1": ("layer1",),
        "stage2": ("layer2",),
        "stage3": ("layer3",),
        "stage4": ("layer4",),
    }
    """modules of each part that a recipe can name"""
    first_kernel = "conv1.weight"

    def __init__(self, config: BackboneConfig, activation: Activation) -> None:
        super().__init__()
        assert config.kind != "shufflenetv2"
        block = BasicBlock if config.kind in _BASIC else Bottleneck
        outputs = [width * block.expansion for width in _WIDTHS]
        repeats = _BLOCKS[config.kind]
        self.channels = tuple(outputs[1:])
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.activation = make_activation(activation)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(block, _WIDTHS[0], _WIDTHS[0], repeats[0], 1, activation)
        self.layer2 = _stage(block, outputs[0], _WIDTHS[1], repeats[1], 2, activation)
        self.layer3 = _stage(block, outputs[1], _WIDTHS[2], repeats[2], 2, activation)
        self.layer4 = _stage(block, outputs[2], _WIDTHS[3], repeats[3], 2, activation)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised images (B, 3, H, W) -> features (B, channels[i], H / s, W / s) for the strides s = 8, 16, 32."""
        x = self.layer1(self.maxpool(self.activation(self.bn1(self.conv1(x)))))
        features = []
        for stage in (self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features


def _stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, width: int, blocks: int, stride: int, kind: Activation
) -> nn.Sequential:
    first, inputs = block(inputs, width, stride, kind), width * block.expansion
    return nn.Sequential(first, *(block(inputs, width, 1, kind) for _ in range(blocks - 1)))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
