"""The feature pyramid network (arXiv:1612.03144) with two more levels, as in GFL and ATSS."""

from torch import Tensor, nn
from torch.nn import functional as F

from nanogfl.config import NeckConfig


class Fpn(nn.Module):
    """Three levels in, five out: P3 to P7 of strides 8 to 128.

    1x1 laterals, sums from coarse to fine and a 3x3 convolution of each sum give P3 to P5. P6 and P7 are convolutions
    of stride 2, each of the level before. There are no norms and no activations. With p6_from c5 (RetinaNet,
    arXiv:1708.02002) P6 is made of the backbone's last feature, and P7 of a ReLU of P6.
    """

    strides = (8, 16, 32, 64, 128)

    def __init__(self, config: NeckConfig, inputs: tuple[int, ...]) -> None:
        super().__init__()
        width = config.channels
        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in inputs)
        self.outputs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in inputs)
        self.from_c5 = config.p6_from == "c5"
        self.further = nn.ModuleList(
            nn.Conv2d(channels, width, 3, 2, padding=1) for channels in (inputs[-1] if self.from_c5 else width, width)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # Kaiming's start is for layers with a ReLU
                assert module.bias is not None
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """(B, inputs[i], H / s, W / s) for s = 8, 16, 32 -> (B, channels, ceil(H / s), ceil(W / s)) for `strides`."""
        sums = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for low in range(len(sums) - 2, -1, -1):
            sums[low] = sums[low] + F.interpolate(sums[low + 1], scale_factor=2.0, mode="nearest")
        levels = [output(level) for output, level in zip(self.outputs, sums, strict=True)]
        p6_layer, p7_layer = self.further
        p6 = p6_layer(features[-1] if self.from_c5 else levels[-1])
        return [*levels, p6, p7_layer(F.relu(p6) if self.from_c5 else p6)]
