"""The distribution-guided quality predictor (arXiv:2011.12885) worked out with numpy, and the logit of its score J."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nanogfl.config import HeadConfig, ModelConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.loss.losses import quality_focal_loss
from nanogfl.model.boxes.decode import decode_scores
from nanogfl.model.detector import Predictions, build_detector, scored
from nanogfl.model.heads.dgqp import Dgqp, build_dgqp, joint_logits, largest_values


def lively(top: int, hidden: int = 6) -> Dgqp:
    dgqp = Dgqp(top, hidden)
    with torch.no_grad():
        for parameter in dgqp.parameters():
            parameter.normal_()
    return dgqp


def by_numpy(dgqp: Dgqp, logits: np.ndarray) -> np.ndarray:
    """Sec. 3.2 of the paper, point by point: F = concat over the sides of top-k and mean; I = W2 relu(W1 F)."""
    first, second = (layer.weight.detach().double().numpy()[:, :, 0, 0] for layer in (dgqp.hidden, dgqp.output))
    bias, last_bias = (layer.bias.detach().double().numpy() for layer in (dgqp.hidden, dgqp.output))
    found = np.zeros(logits.shape[:2])
    for place in np.ndindex(found.shape):
        statistics = []
        for side in logits[place].astype(np.float64):
            probabilities = np.exp(side - side.max()) / np.exp(side - side.max()).sum()
            top = sorted(probabilities, reverse=True)[: dgqp.top]
            statistics += [*top, sum(top) / len(top)]
        found[place] = (second @ np.maximum(first @ np.array(statistics) + bias, 0) + last_bias)[0]
    return found


@pytest.mark.parametrize(("top", "bins"), [(4, 8), (4, 17), (1, 8), (8, 8), (2, 2), (1, 2)])
def test_it_is_two_matrix_products_of_the_sorted_probabilities_and_their_mean(top, bins):
    dgqp, logits = lively(top), 2 * torch.randn(3, 7, 4, bins)
    found = dgqp(logits)
    assert found.shape == (3, 7)
    np.testing.assert_allclose(found.detach().numpy(), by_numpy(dgqp, logits.numpy()), rtol=1e-4, atol=1e-4)


def test_equal_and_certain_distributions_have_the_statistics_of_the_paper():
    """All bins alike: k times 1 / (n + 1); all in one bin: 1, 0, 0, ... and the mean 1 / k."""
    dgqp = lively(4)
    logits = torch.zeros(1, 2, 4, 8)
    logits[0, 1, :, 3] = 1e4
    found = dgqp(logits).detach().numpy()
    np.testing.assert_allclose(found, by_numpy(dgqp, logits.numpy()), rtol=1e-4, atol=1e-5)


def test_where_the_bins_lie_does_not_matter_and_which_side_they_are_of_does():
    dgqp, logits = lively(3), torch.randn(2, 5, 4, 8)
    turned = dgqp(logits[..., torch.randperm(8)])
    torch.testing.assert_close(turned, dgqp(logits))
    assert not torch.allclose(dgqp(logits[:, :, [1, 0, 2, 3]]), dgqp(logits))


def by_topk(dgqp: Dgqp, logits: torch.Tensor) -> torch.Tensor:
    top = logits.softmax(-1).topk(dgqp.top, dim=-1).values
    statistics = torch.cat((top, top.mean(dim=-1, keepdim=True)), dim=-1).flatten(2)
    hidden = F.linear(statistics, dgqp.hidden.weight[:, :, 0, 0], dgqp.hidden.bias).relu()
    return F.linear(hidden, dgqp.output.weight[:, :, 0, 0], dgqp.output.bias)[..., 0]


@pytest.mark.parametrize("top", [1, 4, 8])
def test_its_gradients_are_those_of_topk(top):
    dgqp, logits, pull = lively(top), torch.randn(2, 9, 4, 8).requires_grad_(), torch.randn(2, 9)
    leaves = [logits, *dgqp.parameters()]
    ours, theirs = (torch.autograd.grad((of(logits) * pull).sum(), leaves) for of in (dgqp, lambda x: by_topk(dgqp, x)))
    assert ours[0].abs().sum() > 0
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_the_largest_values_are_sorted_and_their_gradient_goes_where_they_come_from(count):
    values = torch.randn(3, 5, 6, dtype=torch.float64).requires_grad_()
    found = largest_values(values, count)
    assert torch.equal(found, values.sort(dim=-1, descending=True).values[..., :count])
    assert torch.autograd.gradcheck(lambda x: largest_values(x, count), (values,))


def test_of_ties_every_one_has_a_share_of_the_gradient():
    values = torch.tensor([0.3, 0.1, 0.3, 0.1, 0.2], dtype=torch.float64, requires_grad=True)
    found = largest_values(values, 3)
    assert found.tolist() == [0.3, 0.3, 0.2]
    (slope,) = torch.autograd.grad((found * torch.tensor([2.0, 2.0, 5.0])).sum(), values)
    assert slope.tolist() == [2, 0, 2, 0, 5]
    (slope,) = torch.autograd.grad(largest_values(values, 4).sum(), values)  # one of the two .1: together 1
    assert slope.tolist() == [1, 0.5, 1, 0.5, 1]
    same = torch.full((4,), 0.25, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(largest_values(same, 2).sum(), same)
    assert slope.sum().item() == pytest.approx(2)
    assert (slope >= 0).all()


def test_it_starts_near_a_quality_of_one_half_for_all():
    dgqp = build_dgqp(HeadConfig(dgqp=True))
    assert (dgqp.top, dgqp.hidden.in_channels, dgqp.hidden.out_channels) == (4, 20, 64)
    assert dgqp(torch.randn(2, 30, 4, 8) * 5).abs().max() < 0.05
    assert build_dgqp(HeadConfig()) is None


# J = sigma(class) sigma(quality) --------------------------------------------------------------------------------


def logit_of_j(z: float, q: float) -> float:
    """log(J / (1 - J)), without the cancellation of 1 - J."""
    p, i = 1 / (1 + math.exp(-z)), 1 / (1 + math.exp(-q))
    not_p, not_i = 1 / (1 + math.exp(z)), 1 / (1 + math.exp(q))
    return math.log(p) + math.log(i) - math.log(not_p + p * not_i)


def test_the_joint_logit_is_that_of_the_product():
    z, q = 3 * torch.randn(2, 6, 3), 3 * torch.randn(2, 6)
    found = joint_logits(z, q)
    assert found.shape == (2, 6, 3)
    product = z.double().sigmoid() * q.double().sigmoid()[..., None]
    torch.testing.assert_close(found.double(), (product / (1 - product)).log(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.sigmoid(), decode_scores(z, q), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("z", [-500.0, -50.0, 0.0, 50.0, 500.0])
@pytest.mark.parametrize("q", [-500.0, -50.0, 0.0, 50.0, 500.0])
def test_it_is_exact_where_the_product_rounds_to_0_or_1_and_has_a_gradient(z, q):
    logits, quality = torch.full((1, 1, 1), z, requires_grad=True), torch.full((1, 1), q, requires_grad=True)
    found = joint_logits(logits, quality)
    assert found.item() == pytest.approx(logit_of_j(z, q), rel=1e-6, abs=1e-6)
    found.sum().backward()
    # d logit J / dz = (1 - sigma z) / (1 - J)
    not_p, not_i = 1 / (1 + math.exp(z)), 1 / (1 + math.exp(q))
    not_j = not_p + (1 - not_p) * not_i
    assert logits.grad.item() == pytest.approx(not_p / not_j, rel=1e-5, abs=1e-6)
    assert quality.grad.item() == pytest.approx(not_i / not_j, rel=1e-5, abs=1e-6)


def test_half_precision_logits_are_joined_in_float32():
    z, q = (20 * torch.randn(3, 5, 2)).bfloat16(), (20 * torch.randn(3, 5)).bfloat16()
    found = joint_logits(z, q)
    assert found.dtype == torch.float32
    assert torch.equal(found, joint_logits(z.float(), q.float()))
    for number in (-3e38, 3e38):
        for other in (-3e38, 3e38):
            extreme = joint_logits(torch.full((1, 1), number).bfloat16(), torch.full((1,), other).bfloat16())
            assert not extreme.isnan().any()


def test_the_quality_focal_loss_of_the_joint_logit_is_that_of_j_as_a_probability():
    z, q, y = (torch.randn(4, 6, dtype=torch.float64), torch.randn(4, dtype=torch.float64), torch.rand(4, 6))
    j = z.sigmoid() * q.sigmoid()[:, None]
    y = y.double()
    expected = (y - j).abs() ** 2 * -(y * j.log() + (1 - y) * (1 - j).log())
    found = quality_focal_loss(joint_logits(z, q), y.float(), 2.0)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


def test_only_a_head_with_dgqp_joins_its_logits():
    given = Predictions(torch.randn(1, 4, 2), torch.randn(1, 4, 4, 8), torch.randn(1, 4))
    assert scored(given, HeadConfig(quality="iou")) is given
    joined = scored(given, HeadConfig(dgqp=True))
    assert torch.equal(joined.cls_logits, joint_logits(given.cls_logits, given.quality_logits))
    assert joined.box_pred is given.box_pred


@pytest.mark.parametrize("kind", ["per_level", "shared"])
def test_one_predictor_serves_all_levels_of_a_detector(kind):
    head = HeadConfig(1, kind=kind, dgqp=True, dgqp_top=3, dgqp_hidden=5)
    detector = build_detector(ModelConfig(InputSpec((64, 96)), head=head), 2).eval()
    with torch.no_grad():
        for parameter in detector.head.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for parameter in detector.head.dgqp.parameters():
            parameter.uniform_(0.1, 1)  # all of its few channels live
        found = detector(torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8))
    expected = by_numpy(detector.head.dgqp, found.box_pred.numpy())
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found.quality_logits.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert sum("dgqp" in name for name in detector.state_dict()) == 4
