"""The quick quality focal loss against its definition, value and gradient."""

import pytest
import torch

from nanogfl.loss.losses import quality_focal_loss
from nanogfl.loss.qfl import background_qfl, sparse_qfl

BETAS = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]


def pairs(batch: int, points: int, classes: int, count: int) -> tuple[torch.Tensor, ...]:
    """image, point, label, quality, positive: pairs at any place, of which the first at each place is positive."""
    image, point = torch.randint(batch, (count,)), torch.randint(points, (count,))
    label, quality, seen = torch.randint(classes, (count,)), torch.rand(count), set()
    positive = []
    for place in zip(image.tolist(), point.tolist(), strict=True):
        positive.append(place not in seen)
        seen.add(place)
    assert not all(positive)
    quality[:2] = torch.tensor([0.0, 1.0])
    return image, point, label, quality, torch.tensor(positive)


def dense_target(shape: torch.Size, image, point, label, quality, positive) -> torch.Tensor:
    target = torch.zeros(shape, dtype=quality.dtype)
    for i, p, c, y, learns in zip(image, point, label, quality, positive, strict=True):
        if learns:
            target[i, p, c] = y
    return target


@pytest.mark.parametrize("order", ["points before classes", "classes before points, as the detector's"])
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("classes", [1, 5])
def test_it_equals_the_definition_for_any_beta(beta, classes, order):
    logits = 4 * torch.randn(3, 40, classes)
    if order.startswith("classes"):
        logits = torch.randn(3, classes + 2, 40)[:, :classes].mul(4).transpose(1, 2)
        assert classes == 1 or not logits.is_contiguous()
    logits.requires_grad_()
    sparse = pairs(3, 40, classes, 60)
    weight = torch.rand(3, 40)
    found = sparse_qfl(logits, *sparse, beta)
    expected = quality_focal_loss(logits, dense_target(logits.shape, *sparse), beta).sum(dim=-1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)
    slopes = [torch.autograd.grad((weight * value).sum(), logits)[0] for value in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_its_gradient_is_finite_differences(beta):
    logits = (2 * torch.randn(2, 6, 3, dtype=torch.float64)).requires_grad_()
    sparse = pairs(2, 6, 3, 9)
    sparse = (*sparse[:3], sparse[3].double(), sparse[4])
    assert torch.autograd.gradcheck(lambda z: sparse_qfl(z, *sparse, beta), (logits,))


def test_its_gradient_can_be_asked_for_twice():
    """Memory is written over inside: what the backward pass needs must not be."""
    logits = torch.randn(2, 6, 3, requires_grad=True)
    value = sparse_qfl(logits, *pairs(2, 6, 3, 9), 2.0).sum()
    first, second = (torch.autograd.grad(value, logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_the_logits_stay_as_they_are():
    logits = torch.randn(2, 6, 3, requires_grad=True)
    before = logits.detach().clone()
    sparse_qfl(logits, *pairs(2, 6, 3, 9), 2.0).sum().backward()
    background_qfl(logits, 2.0)
    assert torch.equal(logits.detach(), before)


@pytest.mark.parametrize("beta", BETAS)
def test_the_background_is_the_definition_with_target_0(beta):
    logits = 4 * torch.randn(2, 7, 5)
    expected = quality_focal_loss(logits, torch.zeros_like(logits), beta).sum(dim=-1)
    torch.testing.assert_close(background_qfl(logits, beta), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [-100.0, -50.0, 50.0, 100.0])
def test_extreme_logits_stay_finite(size):
    logits = torch.full((1, 4, 2), size, requires_grad=True)
    place = torch.tensor([0, 1])
    sparse = (torch.zeros_like(place), place, place, torch.tensor([1.0, 0.3]), torch.tensor([True, True]))
    value = sparse_qfl(logits, *sparse, 2.0)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(logits.grad).all()


def test_bfloat16_logits_are_computed_in_float32_and_get_a_bfloat16_gradient():
    logits = torch.randn(2, 6, 3).bfloat16().requires_grad_()
    sparse = pairs(2, 6, 3, 9)
    value = sparse_qfl(logits, *sparse, 2.0)
    assert value.dtype == torch.float32
    assert torch.equal(value, sparse_qfl(logits.float(), *sparse, 2.0))
    assert torch.autograd.grad(value.sum(), logits)[0].dtype == torch.bfloat16


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0, 2.0])
def test_where_the_score_is_the_quality_already_nothing_pulls_and_nothing_is_no_number(beta):
    logits = torch.tensor([[[0.0, -3.0, 2.0]]], requires_grad=True)
    place, quality = torch.tensor([0]), torch.tensor([0.5])  # sigma(0), exactly
    loss = sparse_qfl(logits, place, place, place, quality, torch.tensor([True]), beta)
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    expected = quality_focal_loss(logits, torch.tensor([[[0.5, 0.0, 0.0]]]), beta)
    (expected_slope,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(loss, expected.sum(dim=-1))
    torch.testing.assert_close(slope, expected_slope)
    assert slope[0, 0, 0] == 0
