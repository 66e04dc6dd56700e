"""The head that levels share: by functional calls, shared in fact, with a scale for each level."""

import math

import pytest
import torch
from torch.nn import functional as F

from nanogfl.model.heads.layout import HeadLayout
from nanogfl.model.heads.shared import SharedHead, norm_groups

SIZES = ((6, 10), (3, 5), (2, 3))  # H != W, odd


def head(activation="relu", *, inputs=64, channels=64, convs=3, norm="group", quality=False) -> SharedHead:
    return SharedHead(
        HeadLayout(classes=4, side_values=6, quality=quality, anchors=1),
        inputs=inputs,
        channels=channels,
        convs=convs,
        levels=3,
        activation=activation,
        norm=norm,
        prior=0.01,
        dgqp=None,
    )


def levels(channels: int = 64) -> list[torch.Tensor]:
    return [torch.randn(2, channels, *hw) for hw in SIZES]


def group_norm(x: torch.Tensor, groups: int, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Over the channels of a group and all pixels, by its definition."""
    b, c, h, w = x.shape
    x = x.view(b, groups, c // groups, h, w)
    mean = x.mean(dim=(2, 3, 4), keepdim=True)
    var = (x - mean).square().mean(dim=(2, 3, 4), keepdim=True)
    return ((x - mean) / (var + 1e-5).sqrt()).reshape(b, c, h, w) * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def test_answers_by_functional_calls():
    shared = head()
    p = dict(shared.named_parameters())
    for value in p.values():
        if value.ndim == 1:
            torch.nn.init.normal_(value)
        else:
            torch.nn.init.normal_(value, std=0.1)

    def tower(name: str, x: torch.Tensor) -> torch.Tensor:
        for number in range(3):
            x = F.conv2d(x, p[f"{name}.{3 * number}.weight"], padding=1)  # no bias: the norm has one
            x = group_norm(x, 32, p[f"{name}.{3 * number + 1}.weight"], p[f"{name}.{3 * number + 1}.bias"]).clamp(min=0)
        return x

    given = levels()
    for number, (answer, x) in enumerate(zip(shared(given), given, strict=True)):
        classes = F.conv2d(tower("class_tower", x), p["class_output.weight"], p["class_output.bias"], padding=1)
        box = F.conv2d(tower("box_tower", x), p["box_output.weight"], p["box_output.bias"], padding=1)
        assert answer.shape == (2, 4 + 24, *SIZES[number])
        torch.testing.assert_close(answer[:, :4], classes, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(answer[:, 4:], p["scales"][number] * box, rtol=1e-4, atol=1e-4)


def test_levels_share_every_weight_but_their_scale():
    """Its parameters are those of one level and a number for each of the three."""
    shared = head(convs=4)
    dense = 2 * 4 * (64 * 64 * 9 + 2 * 64)
    outputs = (64 * 9 + 1) * (4 + 24)
    assert sum(p.numel() for p in shared.parameters()) == dense + outputs + 3
    x = torch.randn(1, 64, 3, 5)
    first, second, third = shared([x, x, x])
    assert torch.equal(first, second)
    assert torch.equal(second, third)
    with torch.no_grad():
        shared.scales[1] *= 3
    _, second, third = shared([x, x, x])
    assert torch.equal(first[:, :4], second[:, :4])
    torch.testing.assert_close(second[:, 4:], 3 * first[:, 4:])
    assert torch.equal(first, third)


def test_a_levels_scale_learns_from_its_own_box_alone():
    shared = head()
    torch.nn.init.normal_(shared.box_output.weight)
    answers = shared(levels())
    (answers[1][:, 4:] * torch.randn_like(answers[1][:, 4:])).sum().backward(retain_graph=True)
    assert shared.scales.grad[1] != 0
    assert shared.scales.grad[[0, 2]].tolist() == [0, 0]
    shared.scales.grad = None
    sum(answer[:, :4].sum() for answer in answers).backward()
    assert shared.scales.grad is None or not shared.scales.grad.any()


def test_classes_do_not_teach_the_box_and_the_other_way_round():
    shared = head()
    answers = shared(levels())
    answers[0][:, :4].square().sum().backward()
    assert all(p.grad.any() for p in shared.class_tower.parameters())
    assert all(p.grad is None or not p.grad.any() for p in shared.box_tower.parameters())


def test_a_shared_weights_gradient_is_the_sum_over_levels():
    shared, given = head().double(), [level.double() for level in levels()]

    def gradient(chosen: list[int]) -> torch.Tensor:
        shared.zero_grad()
        answers = shared(given)
        sum(answers[number].square().sum() for number in chosen).backward()
        return shared.box_tower[0].weight.grad.clone()

    torch.testing.assert_close(gradient([0, 1, 2]), gradient([0]) + gradient([1]) + gradient([2]))


def test_it_starts_at_the_prior_with_small_weights():
    shared = head(channels=128, inputs=128)
    assert shared.class_output.bias.tolist() == pytest.approx([-math.log(99)] * 4)
    assert not shared.box_output.bias.any()
    assert shared.scales.tolist() == [1, 1, 1]
    for convolution in (shared.class_tower[0], shared.box_tower[6], shared.box_output):
        assert convolution.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_32_groups_or_as_many_as_divide_the_channels():
    assert head(channels=256, inputs=16).box_tower[1].num_groups == 32
    assert head(channels=48).box_tower[1].num_groups == 16


def test_no_group_is_a_single_channel_which_a_norm_would_leave_without_any_content():
    for channels in range(2, 300, 2):
        groups = norm_groups(channels)
        assert channels % groups == 0
        assert channels // groups >= 2
        assert groups <= 32
    assert {channels: norm_groups(channels) for channels in (8, 32, 40, 48, 64, 96, 192, 256)} == {
        8: 4, 32: 16, 40: 8, 48: 16, 64: 32, 96: 32, 192: 32, 256: 32,
    }  # fmt: skip
