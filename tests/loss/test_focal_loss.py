"""Focal loss against its formula with probabilities, in Python's float64."""

import math

import pytest
import torch

from nanogfl.loss.losses import focal_loss

GAMMAS = [0.0, 0.1, 0.5, 1.0, 2.0, 5.0]
CASES = [(z, y) for z in (-30.0, -4.2, -0.7, 0.0, 0.3, 2.5, 30.0) for y in (0.0, 1.0)]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def slow(z: float, y: float, alpha: float | None, gamma: float) -> float:
    """-alpha_t (1 - p_t)^gamma log p_t"""
    p_t = sigmoid(z) if y else sigmoid(-z)
    wrong = sigmoid(-z) if y else sigmoid(z)  # 1 - p_t, without a difference
    alpha_t = 1.0 if alpha is None else alpha if y else 1 - alpha
    return -alpha_t * wrong**gamma * (math.log(p_t) if p_t < 0.5 else math.log1p(-wrong))


@pytest.mark.parametrize("alpha", [None, 0.25, 0.9])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_it_is_the_papers_formula(alpha, gamma):
    logits, target = (torch.tensor(column) for column in zip(*CASES, strict=True))
    found = focal_loss(logits, target, alpha, gamma).tolist()
    assert found == pytest.approx([slow(z, y, alpha, gamma) for z, y in CASES], rel=5e-5, abs=1e-37)


def test_with_gamma_0_it_is_cross_entropy():
    logits, target = 3 * torch.randn(50), (torch.rand(50) > 0.5).float()
    expected = torch.nn.functional.cross_entropy(
        torch.stack((torch.zeros(50), logits), dim=1), target.long(), reduction="none"
    )  # a sigmoid is a softmax over two
    torch.testing.assert_close(focal_loss(logits, target, None, 0.0), expected)


def test_easy_examples_count_a_hundred_times_less():
    """Sec. 3.2: with gamma 2 an example classified with p_t 0.9 has 100 times less loss than with cross entropy."""
    logit, one = torch.tensor([math.log(0.9 / 0.1)]), torch.ones(1)
    assert (focal_loss(logit, one, None, 0.0) / focal_loss(logit, one, None, 2.0)).item() == pytest.approx(
        100, rel=1e-4
    )


def test_every_class_can_have_a_gamma_of_its_own():
    logits, target, gamma = torch.randn(4, 3), torch.tensor([1.0, 0, 0]).expand(4, 3), torch.tensor([2.0, 3.5, 10.0])
    found = focal_loss(logits, target, 0.25, gamma)
    for c in range(3):
        apart = focal_loss(logits[:, c], target[:, c], 0.25, gamma[c].item())
        torch.testing.assert_close(found[:, c], apart)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_its_gradient_is_finite_differences(gamma):
    logits = (3 * torch.randn(20, dtype=torch.float64)).requires_grad_()
    target = (torch.rand(20) > 0.5).double()
    assert torch.autograd.gradcheck(lambda z: focal_loss(z, target, 0.25, gamma), (logits,))


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("size", [50.0, 200.0])
def test_extreme_logits_in_half_precision_give_finite_losses_and_gradients(gamma, size):
    """Also where 1 - p_t is no number above 0 any more, whose root would have no slope."""
    logits = torch.tensor([-size, -size, size, size]).bfloat16().requires_grad_()
    loss = focal_loss(logits, torch.tensor([0.0, 1, 0, 1]), 0.25, gamma)
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert loss[1:3].tolist() == pytest.approx([0.25 * size, 0.75 * size], rel=1e-5)  # wholly wrong: BCE
    assert loss[[0, 3]].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1:3].tolist() == pytest.approx([-0.25, 0.75], rel=1e-2)
