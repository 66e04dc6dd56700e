"""The convolution blocks that backbones, necks and heads share."""

from torch import Tensor, nn

from nanogfl.config import Activation
from nanogfl.model.depthwise import DepthwiseConv2d


def make_activation(kind: Activation) -> nn.Module:
    """ReLU, or leaky ReLU of slope 0.1; both work in place."""
    match kind:
        case "relu":
            return nn.ReLU(inplace=True)
        case "leaky_relu":
            return nn.LeakyReLU(0.1, inplace=True)


class ConvNorm(nn.Sequential):
    """Convolution, batch norm, activation: (B, inputs, H, W) -> (B, outputs, ceil(H / stride), ceil(W / stride)).

    `activation` None leaves the activation out; `depthwise` needs inputs == outputs.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        activation: Activation | None,
        *,
        stride: int = 1,
        depthwise: bool = False,
    ) -> None:
        assert inputs == outputs or not depthwise
        conv: nn.Conv2d = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        if depthwise:
            conv = DepthwiseConv2d(inputs, kernel, stride)
        layers: list[nn.Module] = [conv, nn.BatchNorm2d(outputs)]
        if activation is not None:
            layers.append(make_activation(activation))
        super().__init__(*layers)


class SeparableConv(nn.Module):
    """Depthwise k x k convolution, then pointwise 1 x 1, each with batch norm and activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, activation: Activation, *, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = ConvNorm(inputs, inputs, kernel, activation, stride=stride, depthwise=True)
        self.pointwise = ConvNorm(inputs, outputs, 1, activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.pointwise(self.depthwise(x))
        return out


class SumBlock(nn.Module):
    """Depthwise k x k, then 1x1 to `expansion` times the channels, activation, 1x1 back; the input is added.

    The last batch norm starts at zero, so that a new block passes its input on unchanged (arXiv:1706.02677, 5.1).
    """

    def __init__(self, channels: int, expansion: int, kernel: int, activation: Activation) -> None:
        super().__init__()
        self.depthwise = ConvNorm(channels, channels, kernel, None, depthwise=True)
        self.widen = ConvNorm(channels, expansion * channels, 1, activation)
        self.narrow = ConvNorm(expansion * channels, channels, 1, None)
        norm = self.narrow[1]
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.zeros_(norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same."""
        out: Tensor = x + self.narrow(self.widen(self.depthwise(x)))
        return out
