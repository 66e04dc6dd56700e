"""Smooth L1 piece by piece."""

import pytest
import torch

from nanogfl.loss.losses import smooth_l1_loss


@pytest.mark.parametrize("beta", [0.0, 0.11, 1.0, 3.0])
def test_it_is_a_parabola_up_to_beta_and_a_line_from_there(beta):
    predicted = torch.tensor([-4.0, -1.0, -0.1, 0.0, 0.05, 0.11, 1.0, 2.9, 3.0, 50.0])
    found = smooth_l1_loss(predicted, torch.zeros(10), beta).tolist()
    expected = [0.5 * d * d / beta if d < beta else d - 0.5 * beta for d in predicted.abs().tolist()]
    assert found == pytest.approx(expected, rel=1e-6)


def test_it_looks_at_the_difference_and_keeps_its_shape():
    predicted, target = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    found = smooth_l1_loss(predicted, target, 1.0)
    assert found.shape == (2, 5, 4)
    torch.testing.assert_close(found, smooth_l1_loss(predicted - target, torch.zeros(()), 1.0))
    torch.testing.assert_close(found, smooth_l1_loss(target, predicted, 1.0))


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_its_gradient_is_finite_differences_and_no_longer_than_1(beta):
    predicted = torch.tensor([-3.0, -0.7, -0.2, 0.3, 0.9, 40.0], dtype=torch.float64).requires_grad_()
    target = torch.zeros(6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: smooth_l1_loss(x, target, beta), (predicted,))
    (slope,) = torch.autograd.grad(smooth_l1_loss(predicted, target, beta).sum(), predicted)
    assert slope.abs().max() <= 1


def test_half_precision_is_computed_in_float32():
    predicted = torch.tensor([50.0, -50.0]).bfloat16().requires_grad_()
    found = smooth_l1_loss(predicted, torch.tensor([0.3, 0.0]), 1.0)
    found.sum().backward()
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([49.2, 49.5], rel=1e-6)
    assert predicted.grad.tolist() == [1, -1]
