"""The equalized losses and their slopes against the formulas with probabilities, number by number in float64."""

import math

import pytest
import torch

from nanogfl.loss.losses import (
    equalized_focal_loss,
    equalized_focal_slope,
    equalized_quality_focal_loss,
    equalized_quality_focal_slope,
    focal_loss,
    quality_focal_loss,
)

GAMMA, WEIGHT = [2.0, 3.7, 10.0], [1.0, 1.85, 5.0]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def columns(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(GAMMA, dtype=dtype), torch.tensor(WEIGHT, dtype=dtype)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_efl_is_the_papers_formula(alpha):
    logits, target = 2 * torch.randn(2, 9, 3), (torch.rand(2, 9, 3) > 0.6).float()
    found = equalized_focal_loss(logits, target, alpha, *columns())
    assert found.shape == (2, 9, 3)
    for b, p, c in [(b, p, c) for b in range(2) for p in range(9) for c in range(3)]:
        sigma = sigmoid(logits[b, p, c].item())
        p_t = sigma if target[b, p, c] else 1 - sigma
        alpha_t = 1 if alpha is None else alpha if target[b, p, c] else 1 - alpha
        expected = -alpha_t * WEIGHT[c] * (1 - p_t) ** GAMMA[c] * math.log(p_t)
        assert found[b, p, c].item() == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_eqfl_is_the_papers_formula():
    logits, quality = 2 * torch.randn(9, 3), torch.rand(9, 3) * (torch.rand(9, 3) > 0.5)
    found = equalized_quality_focal_loss(logits, quality, *columns())
    for p, c in [(p, c) for p in range(9) for c in range(3)]:
        sigma, y = sigmoid(logits[p, c].item()), quality[p, c].item()
        entropy = -(1 - y) * math.log(1 - sigma) - y * math.log(sigma)
        expected = WEIGHT[c] * abs(y - sigma) ** GAMMA[c] * entropy
        assert found[p, c].item() == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_for_classes_in_balance_they_are_focal_and_quality_focal_loss():
    logits, target, quality = torch.randn(9, 3), (torch.rand(9, 3) > 0.5).float(), torch.rand(9, 3)
    balanced = (torch.full((3,), 2.0), torch.ones(3))
    efl, eqfl = (
        equalized_focal_loss(logits, target, 0.25, *balanced),
        equalized_quality_focal_loss(logits, quality, *balanced),
    )
    torch.testing.assert_close(efl, focal_loss(logits, target, 0.25, 2.0))
    torch.testing.assert_close(eqfl, quality_focal_loss(logits, quality, 2.0))


def test_a_class_with_a_larger_focus_learns_more_from_what_is_wrong_and_less_from_what_is_nearly_right():
    """The weight lifts the loss where the larger exponent alone would lower all of it."""
    logits, one = torch.tensor([[-6.0], [2.0]]), torch.ones(2, 1)
    plain = equalized_focal_loss(logits, one, None, torch.tensor([2.0]), torch.tensor([1.0]))
    rare = equalized_focal_loss(logits, one, None, torch.tensor([8.0]), torch.tensor([4.0]))
    assert rare[0] > 3.9 * plain[0]
    assert rare[1] < 0.01 * plain[1]


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_the_slopes_are_the_derivatives_sizes(alpha):
    """In float64, against autograd: at any target between 0 and 1 for eqfl, also where it equals the probability."""
    gamma, weight = columns(torch.float64)
    logits = (3 * torch.randn(200, 3, dtype=torch.float64)).requires_grad_()
    target, quality = (torch.rand(200, 3) > 0.5).double(), torch.rand(200, 3, dtype=torch.float64)
    quality[:5] = logits[:5].detach().sigmoid()
    quality[5:50] = 0
    for slope, loss in (
        (
            equalized_focal_slope(logits, target, alpha, gamma, weight),
            equalized_focal_loss(logits, target, alpha, gamma, weight),
        ),
        (
            equalized_quality_focal_slope(logits, quality, gamma, weight),
            equalized_quality_focal_loss(logits, quality, gamma, weight),
        ),
    ):
        (expected,) = torch.autograd.grad(loss.sum(), logits)
        torch.testing.assert_close(slope, expected.abs(), rtol=1e-9, atol=1e-14)
        assert (slope[50:] > 0).all()


def test_their_gradients_are_finite_differences():
    gamma, weight = columns(torch.float64)
    logits = torch.randn(6, 3, dtype=torch.float64).requires_grad_()
    target, quality = (torch.rand(6, 3) > 0.5).double(), torch.rand(6, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: equalized_focal_loss(z, target, 0.25, gamma, weight), (logits,))
    assert torch.autograd.gradcheck(lambda z: equalized_quality_focal_loss(z, quality, gamma, weight), (logits,))


@pytest.mark.parametrize("size", [-200.0, -50.0, 50.0, 200.0])
def test_extreme_logits_in_half_precision_stay_finite(size):
    logits = torch.full((3, 3), size).bfloat16().requires_grad_()
    target, quality = torch.eye(3), 0.4 * torch.eye(3)
    values = (
        equalized_focal_loss(logits, target, 0.25, *columns()),
        equalized_quality_focal_loss(logits, quality, *columns()),
        equalized_focal_slope(logits, target, 0.25, *columns()),
        equalized_quality_focal_slope(logits, quality, *columns()),
    )
    (values[0].sum() + values[1].sum()).backward()
    assert all(torch.isfinite(value).all() and value.dtype == torch.float32 for value in values)
    assert torch.isfinite(logits.grad).all()
