"""PAN as in NanoDet-m (path aggregation, arXiv:1803.01534): 1x1 laterals, then sums top-down and bottom-up."""

from torch import Tensor, nn
from torch.nn import functional as F

from nanogfl.config import NeckConfig


class Pan(nn.Module):
    """Three levels in, three out, of strides 8, 16 and 32. No convolution follows the sums."""

    strides = (8, 16, 32)

    def __init__(self, config: NeckConfig, inputs: tuple[int, ...]) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, config.channels, 1) for channels in inputs)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """(B, inputs[i], H / s, W / s) for the strides s = 8, 16, 32 -> (B, channels, H / s, W / s) for the same."""
        levels = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for low in range(len(levels) - 2, -1, -1):
            levels[low] = levels[low] + F.interpolate(
                levels[low + 1], scale_factor=2.0, mode="bilinear", align_corners=False
            )
        for high in range(1, len(levels)):
            levels[high] = levels[high] + F.interpolate(
                levels[high - 1], scale_factor=0.5, mode="bilinear", align_corners=False
            )
        return levels
