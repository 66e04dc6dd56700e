"""The one form against the paper's formula, and the three losses against the one form."""

import random

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from nanogfl.loss.losses import distribution_focal_loss, focal_loss, quality_focal_loss, working_type
from nanogfl.loss.qfl import sparse_qfl

BETAS = [0.0, 0.5, 1.0, 2.0, 2.5]


def generalized_focal_loss(
    log_left: Tensor, log_right: Tensor, target: Tensor, left: Tensor | float, right: Tensor | float, beta: float
) -> Tensor:
    """-|y - (l p_l + r p_r)|^beta [(r - y) log p_l + (y - l) log p_r], of the operands' shape. arXiv:2006.04388.

    log_left, log_right: log p_l and log p_r, the probabilities of the values l and r on both sides of the target y,
    l <= y <= r; p_l + p_r = 1, or beta = 0. With l 0, r 1 and sigmoids it is the quality focal loss, with a target of
    0 or 1 focal loss without alpha; with beta 0 and two neighbouring bins of a distribution, distribution focal loss.
    """
    log_left, log_right = log_left.to(working_type(log_left)), log_right.to(working_type(log_right))
    target = target.to(log_left.dtype)
    # y - (l p_l + r p_r), written as a mean of both sides' distances: exact where the target is one of the sides.
    away = (target - left) * log_left.exp() - (right - target) * log_right.exp()
    modulation = away.abs().clamp(min=torch.finfo(away.dtype).tiny).pow(beta)
    return -modulation * ((right - target) * log_left + (target - left) * log_right)


@pytest.mark.parametrize("beta", BETAS)
def test_it_is_the_papers_formula(beta):
    numbers, rows, expected = random.Random(0), [], []
    for _ in range(60):
        left, right = sorted((numbers.uniform(-2, 7), numbers.uniform(-2, 7)))
        y, p_left = numbers.uniform(left, right), numbers.uniform(0.01, 0.99)
        p_right = 1 - p_left
        rows.append([p_left, p_right, y, left, right])
        logs = torch.tensor([p_left, p_right], dtype=torch.float64).log().tolist()
        bracket = (right - y) * logs[0] + (y - left) * logs[1]
        expected.append(-(abs(y - (left * p_left + right * p_right)) ** beta) * bracket)
    p_left, p_right, y, left, right = torch.tensor(rows, dtype=torch.float64).unbind(dim=1)
    found = generalized_focal_loss(p_left.log(), p_right.log(), y, left, right, beta)
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("beta", BETAS)
def test_quality_focal_loss_is_the_case_of_a_sigmoid_between_0_and_1(beta):
    logits, quality = 3 * torch.randn(200), torch.rand(200)
    expected = generalized_focal_loss(logsigmoid(-logits), logsigmoid(logits), quality, 0.0, 1.0, beta)
    torch.testing.assert_close(quality_focal_loss(logits, quality, beta), expected, rtol=1e-4, atol=1e-6)


def test_what_training_computes_as_quality_focal_loss_is_that_case_too():
    logits, quality = 3 * torch.randn(1, 9, 4), torch.zeros(1, 9, 4)
    quality[0, 2, 3], quality[0, 5, 0] = 0.8, 0.3
    image, point, label = torch.tensor([0, 0]), torch.tensor([2, 5]), torch.tensor([3, 0])
    found = sparse_qfl(logits, image, point, label, torch.tensor([0.8, 0.3]), torch.tensor([True, True]), 2.0)
    expected = generalized_focal_loss(logsigmoid(-logits), logsigmoid(logits), quality, 0.0, 1.0, 2.0).sum(dim=-1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gamma", BETAS)
def test_focal_loss_without_alpha_is_the_case_of_a_target_of_0_or_1(gamma):
    logits, target = 3 * torch.randn(200), (torch.rand(200) > 0.5).float()
    expected = generalized_focal_loss(logsigmoid(-logits), logsigmoid(logits), target, 0.0, 1.0, gamma)
    torch.testing.assert_close(focal_loss(logits, target, None, gamma), expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(focal_loss(logits, target, 0.25, gamma), expected, rtol=1e-2)


def test_distribution_focal_loss_is_the_case_of_beta_0_and_neighbouring_bins():
    dist_logits = 2 * torch.randn(40, 8)
    target = torch.cat((torch.tensor([0.0, 3.0, 6.9]), 6.9 * torch.rand(37)))
    low = target.floor().long()
    logs = dist_logits.log_softmax(dim=1)
    rows = torch.arange(40)
    expected = generalized_focal_loss(logs[rows, low], logs[rows, low + 1], target, low.float(), low + 1.0, 0.0)
    torch.testing.assert_close(distribution_focal_loss(dist_logits, target), expected)
