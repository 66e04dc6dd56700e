"""SumNet: its layers by a second implementation, its shapes, a new block that changes nothing."""

import pytest
import torch
from torch.nn import functional as F

from nanogfl.config import BackboneConfig
from nanogfl.model.backbones.sumnet import SumNet
from nanogfl.model.blocks import SumBlock
from tests.lively import random_norms

WIDTHS = (8, 12, 16, 24)


def sumnet(**keys) -> SumNet:
    config = BackboneConfig(kind="sumnet", channels=WIDTHS, blocks=(0, 1, 2, 1), **keys)
    return SumNet(config, "relu").eval()


@pytest.mark.parametrize("keys", [{}, {"kernel": 5, "expansion": 3}])
def test_features_by_a_second_implementation(keys):
    torch.manual_seed(0)
    net = sumnet(**keys)
    random_norms(net)
    state = net.state_dict()

    def layer(name: str, x: torch.Tensor, stride: int = 1, groups: int = 1) -> torch.Tensor:
        kernel = state[f"{name}.0.weight"]
        y = F.conv2d(x, kernel, None, stride, kernel.shape[-1] // 2, groups=groups)
        mean, var, gain, shift = (
            state[f"{name}.1.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (y - mean) / (var + 1e-5).sqrt() * gain + shift

    given = torch.randn(2, 3, 64, 96)
    x, expected = layer("stem", given, 2).relu(), []
    for number, blocks in enumerate((0, 1, 2, 1), start=1):
        x = layer(f"stage{number}.0", x, 2).relu()
        for block in range(1, blocks + 1):
            name = f"stage{number}.{block}"
            inner = layer(f"{name}.widen", layer(f"{name}.depthwise", x, groups=x.shape[1])).relu()
            x = x + layer(f"{name}.narrow", inner)
        expected.append(x)
    with torch.no_grad():
        found = net(given)
    assert [tuple(level.shape) for level in found] == [(2, 12, 8, 12), (2, 16, 4, 6), (2, 24, 2, 3)]
    for ours, theirs in zip(found, expected[1:], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_new_block_passes_its_input_on():
    x = torch.randn(2, 8, 5, 7)
    assert torch.equal(SumBlock(8, 2, 3, "relu")(x), x)
