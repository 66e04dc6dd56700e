"""The feature pyramid by hand: nearest neighbours, sums, sizes that are rounded up."""

import pytest
import torch
from torch.nn import functional as F

from nanogfl.config import NeckConfig
from nanogfl.model.necks.fpn import Fpn

INPUTS = (3, 5, 7)


def fpn(channels: int = 8) -> Fpn:
    return Fpn(NeckConfig("fpn", channels, extra_level=False), INPUTS)


def features(hw: tuple[int, int], count: int = 2) -> list[torch.Tensor]:
    return [torch.randn(count, c, hw[0] // s, hw[1] // s) for c, s in zip(INPUTS, (8, 16, 32), strict=True)]


def test_levels_by_a_second_implementation():
    neck, given = fpn(), features((96, 160))
    p = dict(neck.named_parameters())
    for value in p.values():
        torch.nn.init.normal_(value)  # biases, too

    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        padding = p[f"{name}.weight"].shape[-1] // 2
        return F.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], stride, padding)

    def twice(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)  # every cell four times

    c3, c4, c5 = (conv(f"laterals.{i}", x) for i, x in enumerate(given))
    m4 = c4 + twice(c5)
    m3 = c3 + twice(m4)
    p3, p4, p5 = (conv(f"outputs.{i}", x) for i, x in enumerate((m3, m4, c5)))
    p6 = conv("further.0", p5, 2)
    expected = [p3, p4, p5, p6, conv("further.1", p6, 2)]  # neither p6 nor p7 is rectified
    for ours, theirs in zip(neck(given), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("hw", "p6", "p7"),
    [
        ((128, 256), (2, 4), (1, 2)),
        ((96, 160), (2, 3), (1, 2)),
        ((32, 352), (1, 6), (1, 3)),
        ((160, 96), (3, 2), (2, 1)),
    ],
)
def test_p6_and_p7_are_rounded_up_from_any_input_that_is_a_multiple_of_32(hw, p6, p7):
    levels = fpn()(features(hw, 1))
    assert tuple(levels[0].shape) == (1, 8, hw[0] // 8, hw[1] // 8)
    assert [tuple(level.shape[2:]) for level in levels[3:]] == [p6, p7]


def test_parameters_of_the_papers_pyramid_on_resnet_50():
    neck = Fpn(NeckConfig("fpn", 256, extra_level=False), (512, 1024, 2048))
    laterals = (512 + 1024 + 2048 + 3) * 256
    assert sum(p.numel() for p in neck.parameters()) == laterals + 5 * (256 * 256 * 9 + 256)


def test_weights_start_by_xavier_and_biases_at_zero():
    neck = fpn(256)
    for name, value in neck.named_parameters():
        if name.endswith("bias"):
            assert not value.any()
    bound = (6 / (256 * 9 + 256 * 9)) ** 0.5
    assert bound * 0.99 < neck.outputs[0].weight.abs().max().item() <= bound
