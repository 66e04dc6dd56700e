"""Each loss against its formula, number by number in Python's float64."""

import math
import random

import pytest
import torch

from nanogfl.loss.losses import distribution_focal_loss, giou_loss, quality_focal_loss


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def softplus(z: float) -> float:
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def qfl(z: float, y: float, beta: float) -> float:
    """-|y - sigma|^beta [(1 - y) log(1 - sigma) + y log sigma], eq. 5."""
    return abs(y - sigmoid(z)) ** beta * ((1 - y) * softplus(z) + y * softplus(-z))


def dfl(logits: list[float], t: float) -> float:
    """-[(i + 1 - t) log S_i + (t - i) log S_{i + 1}], eq. 6."""
    i = math.floor(t)
    top = max(logits)
    total = top + math.log(sum(math.exp(v - top) for v in logits))
    return -((i + 1 - t) * (logits[i] - total) + (t - i) * (logits[i + 1] - total))


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0, 2.5])
def test_qfl_is_the_papers_formula(beta):
    cases = [(z, y) for z in (-50.0, -7.0, -1.3, 0.0, 0.4, 3.0, 50.0) for y in (0.0, 0.01, 0.37, 0.5, 0.99, 1.0)]
    logits, quality = (torch.tensor(column) for column in zip(*cases, strict=True))
    found = quality_focal_loss(logits, quality, beta).tolist()
    assert found == pytest.approx([qfl(z, y, beta) for z, y in cases], rel=2e-5, abs=5e-7)


def test_qfl_without_a_quality_between_0_and_1_is_focal_loss_without_alpha():
    for z in (-4.0, -0.5, 0.0, 2.0):
        p = sigmoid(z)
        positive, negative = quality_focal_loss(torch.tensor([z, z]), torch.tensor([1.0, 0.0]), 2.0).tolist()
        assert positive == pytest.approx(-((1 - p) ** 2) * math.log(p), rel=1e-5)
        assert negative == pytest.approx(-(p**2) * math.log(1 - p), rel=1e-5)


@pytest.mark.parametrize("y", [0.05, 0.3, 0.5, 0.8, 0.95])
def test_qfl_is_least_and_0_where_sigma_is_the_quality(y):
    scan = torch.linspace(-8, 8, 3201)
    at_quality = torch.tensor([math.log(y / (1 - y))])
    values = quality_focal_loss(scan, torch.full_like(scan, y), 2.0)
    assert quality_focal_loss(at_quality, torch.tensor([y]), 2.0).item() == pytest.approx(0, abs=1e-10)
    assert scan[values.argmin()].sigmoid().item() == pytest.approx(y, abs=2e-3)
    rising = values[scan > at_quality + 0.01]
    assert (rising[1:] >= rising[:-1]).all()


def test_dfl_is_the_papers_formula_on_fractions_integers_and_next_to_the_last_bin():
    numbers = random.Random(0)
    targets = [0.0, 1.0, 3.0, 6.0, 6.9, 6.0001, 0.25, 5.75] + [numbers.uniform(0, 6.9) for _ in range(30)]
    logits = [[numbers.gauss(0, 3) for _ in range(8)] for _ in targets]
    found = distribution_focal_loss(torch.tensor(logits), torch.tensor(targets)).tolist()
    assert found == pytest.approx([dfl(row, t) for row, t in zip(logits, targets, strict=True)], rel=1e-4, abs=1e-5)


def test_an_integral_target_concerns_one_bin_only():
    logits = torch.randn(7, 8)
    found = distribution_focal_loss(logits, torch.arange(7).float())
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(7), reduction="none")
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("t", [0.0, 0.3, 2.0, 4.5, 6.9])
def test_dfl_is_least_where_two_bins_share_by_distance_and_there_the_expectation_is_the_target(t):
    i = math.floor(t)
    best = torch.zeros(8, dtype=torch.float64)
    best[i], best[i + 1] = i + 1 - t, t - i
    logits = best.clamp(min=1e-12).log().float()[None].requires_grad_()
    least = distribution_focal_loss(logits, torch.tensor([t]))
    (slope,) = torch.autograd.grad(least.sum(), logits)
    assert slope.abs().max().item() < 1e-6
    assert (logits.softmax(-1) @ torch.arange(8.0)).item() == pytest.approx(t, abs=1e-5)
    entropy = -sum(p * math.log(p) for p in (i + 1 - t, t - i) if p > 0)
    assert least.item() == pytest.approx(entropy, abs=1e-5)
    for _ in range(50):  # any other distribution costs more
        other = logits.detach() + 0.3 * torch.randn(1, 8)
        assert distribution_focal_loss(other, torch.tensor([t])).item() >= least.item() - 1e-6


def test_giou_loss_runs_from_0_to_2():
    a = torch.tensor([[0.0, 0, 4, 2], [0, 0, 2, 2], [0, 0, 1, 1]])
    b = torch.tensor([[0.0, 0, 4, 2], [1, 1, 3, 3], [999, 999, 1000, 1000]])
    expected = [0.0, 1 - (1 / 7 - 2 / 9), 1 + (1e6 - 2) / 1e6]
    assert giou_loss(a, b).tolist() == pytest.approx(expected, abs=1e-6)


def test_no_positives_give_empty_losses():
    assert distribution_focal_loss(torch.zeros(0, 8), torch.zeros(0)).shape == (0,)
    assert giou_loss(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_half_precision_logits_are_computed_in_float32():
    logits = torch.tensor([0.3, -4.0]).bfloat16()
    assert quality_focal_loss(logits, torch.tensor([0.5, 0.0]), 2.0).dtype == torch.float32
    assert distribution_focal_loss(torch.zeros(1, 8).bfloat16(), torch.tensor([1.5])).dtype == torch.float32


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_gradients_in_float64_are_finite_differences(beta):
    logits = torch.randn(9, dtype=torch.float64).requires_grad_()
    quality = torch.tensor([0.0, 0.0, 0.2, 0.5, 0.7, 0.9, 1.0, 1.0, 0.1], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: quality_focal_loss(z, quality, beta), (logits,))
    distributions = torch.randn(5, 8, dtype=torch.float64).requires_grad_()
    target = torch.tensor([0.0, 0.3, 2.0, 5.5, 6.9], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: distribution_focal_loss(x, target), (distributions,))


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [50.0, 200.0])
def test_extremes_in_half_precision_have_finite_gradients_for_any_beta(beta, size):
    """Where probability and target are equal the root of their distance has no slope."""
    logits = torch.tensor([-size, -size, -size, 0, size, size, size]).bfloat16().requires_grad_()
    loss = quality_focal_loss(logits, torch.tensor([0.0, 0.5, 1, 0.5, 0, 0.5, 1]), beta)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(logits.grad).all()
    distributions = torch.zeros(4, 8).fill_diagonal_(size).bfloat16().requires_grad_()
    loss = distribution_focal_loss(distributions, torch.tensor([0.0, 3.5, 2.0, 6.9]))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(distributions.grad).all()
