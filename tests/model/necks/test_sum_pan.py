"""SumPan: the paths between its levels, and the sizes of any input that is a multiple of 32."""

import pytest
import torch

from nanogfl.config import NeckConfig
from nanogfl.model.necks.sum_pan import SumPan
from tests.lively import random_norms

INPUTS = (6, 8, 10)


def neck(*, extra: bool = True) -> SumPan:
    torch.manual_seed(0)
    made = SumPan(NeckConfig("sum_pan", 8, extra_level=extra), INPUTS, "relu").eval()
    random_norms(made)
    return made


def features(hw: tuple[int, int]) -> list[torch.Tensor]:
    return [torch.randn(1, c, hw[0] // s, hw[1] // s) for c, s in zip(INPUTS, (8, 16, 32), strict=True)]


@torch.no_grad()
def test_levels_by_a_second_implementation():
    made, given = neck(), features((96, 160))
    p3, p4, p5 = (lateral(x) for lateral, x in zip(made.laterals, given, strict=True))

    def twice(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    p4 = made.top_down[0](p4 + twice(p5))
    p3 = made.top_down[1](p3 + twice(p4))
    n4 = made.bottom_up[0](p4 + made.downsample[0](p3))
    n5 = made.bottom_up[1](p5 + made.downsample[1](n4))
    for ours, theirs in zip(made(given), [p3, n4, n5, made.downsample[2](n5)], strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("hw", [(96, 160), (32, 352), (160, 96)])
@pytest.mark.parametrize("extra", [True, False])
def test_sizes(hw, extra):
    made = neck(extra=extra)
    sizes = [tuple(level.shape[1:]) for level in made(features(hw))]
    assert sizes == [(8, -(-hw[0] // s), -(-hw[1] // s)) for s in made.strides]
    assert made.strides == ((8, 16, 32, 64) if extra else (8, 16, 32))


def test_every_output_depends_on_every_input():
    made = neck()
    given = [x.requires_grad_() for x in features((64, 64))]
    for level in made(given):
        gradients = torch.autograd.grad(level.square().sum(), given, retain_graph=True)
        assert all(gradient.abs().sum() > 0 for gradient in gradients)
