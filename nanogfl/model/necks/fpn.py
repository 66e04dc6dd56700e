"""The feature pyramid network (arXiv:1612.03144) with two more levels, as GFL and ATSS have it."""

from torch import Tensor, nn
from torch.nn import functional as F

from nanogfl.config import NeckConfig


class Fpn(nn.Module):
    """Features of strides 8, 16, 32 -> levels P3 to P7 of strides 8, 16, 32, 64, 128, `channels` channels each.

    1x1 laterals, sums from coarse to fine, a 3x3 convolution on each sum; P6 and P7 by convolutions of stride 2, each
    on the output before it. No norm and no activation. A side that is odd is rounded up: ceil(H / 64), ceil(H / 128).
    With p6_from c5 (RetinaNet, arXiv:1708.02002) P6 sees the backbone's last feature, and P7 a ReLU of P6.
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
            if isinstance(module, nn.Conv2d):  # nothing is rectified here, for which Kaiming's doubles the variance
                assert module.bias is not None
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        sums = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for low in range(len(sums) - 2, -1, -1):
            sums[low] = sums[low] + F.interpolate(sums[low + 1], scale_factor=2.0, mode="nearest")
        levels = [output(level) for output, level in zip(self.outputs, sums, strict=True)]
        p6_layer, p7_layer = self.further
        p6 = p6_layer(features[-1] if self.from_c5 else levels[-1])
        return [*levels, p6, p7_layer(F.relu(p6) if self.from_c5 else p6)]
