"""Which target and which formula a kind of classification loss has, point by point; and the whole criterion with it."""

import math

import pytest
import torch

from nanogfl.config import LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.candidates import Assignment
from nanogfl.loss.classification import classification_loss
from nanogfl.loss.criterion import compute_losses
from nanogfl.loss.equalized import Equalizer
from nanogfl.loss.losses import quality_focal_loss
from nanogfl.model.boxes.decode import make_grid
from nanogfl.model.detector import Predictions

CPU = torch.device("cpu")
LABEL = torch.tensor([1, 0, 2, 2])
ASSIGNMENT = Assignment(
    torch.tensor([0, 0, 1, 1]),
    torch.tensor([2, 4, 0, 0]),
    torch.tensor([0, 1, 2, 3]),
    torch.tensor([True, True, False, True]),
    torch.tensor([0.8, 0.3, 0.6, 0.5]),
    torch.zeros(2, 7, dtype=torch.bool),
)
POSITIVES = {(0, 2, 1): 0.8, (0, 4, 0): 0.3, (1, 0, 2): 0.5}


def balance_of(totals: list[list[float]], config: LossConfig) -> Equalizer:
    equalizer = Equalizer(config, 3, CPU)
    equalizer.totals += torch.tensor(totals)
    return equalizer


def of_kind(logits, config: LossConfig, equalizer: Equalizer | None, guided=False) -> torch.Tensor:
    quality = ASSIGNMENT.quality
    positives = ASSIGNMENT.positive.sum().clamp(min=1)
    return classification_loss(
        logits, LABEL, ASSIGNMENT, quality, config, equalizer, guided=guided, positives=positives
    )


@pytest.mark.parametrize("kind", ["qfl", "fl", "efl", "eqfl"])
def test_each_kind_is_its_formula_with_its_targets(kind):
    config = LossConfig(classification=kind, alpha=0.3, gamma=1.5, beta=2.5, efl_scale=4.0)
    equalizer = balance_of([[1.0, 3, 0], [2.0, 3, 5]], config)  # g 0.5, 1, 0
    logits = 2 * torch.randn(2, 7, 3)
    found = of_kind(logits, config, equalizer if config.equalized else None)
    assert found.shape == (2, 7)
    for b, p in [(b, p) for b in range(2) for p in range(7)]:
        expected = 0.0
        for c in range(3):
            y, sigma = POSITIVES.get((b, p, c), 0.0), 1 / (1 + math.exp(-logits[b, p, c].item()))
            if kind in ("fl", "efl"):
                y = float(y > 0)
            gamma = {"qfl": 2.5, "fl": 1.5}.get(kind, 1.5 + 4 * (1 - (0.5, 1.0, 0.0)[c]))
            loss = abs(y - sigma) ** gamma * -((1 - y) * math.log(1 - sigma) + y * math.log(sigma))
            if kind in ("fl", "efl"):
                loss *= 0.3 if y else 0.7
            if kind in ("efl", "eqfl"):
                loss *= gamma / 1.5
            expected += loss
        assert found[b, p].item() == pytest.approx(expected, rel=1e-4)


def make_predictions() -> Predictions:
    points = len(make_grid((64, 96), (8, 16, 32), 0.5).points)
    return Predictions(
        (2 * torch.randn(2, points, 3)).requires_grad_(), (2 * torch.randn(2, points, 4, 8)).requires_grad_()
    )


def make_truth(count: int) -> Truth:
    boxes = torch.tensor([[4.0, 6, 40, 50], [30, 20, 90, 60], [50, 3, 70, 22]])[:count]
    labels, image = torch.tensor([1, 0, 1])[:count], torch.tensor([0, 0, 1])[:count]
    return Truth(boxes, labels, image, torch.tensor([[0.0, 0, 30, 64]]), torch.tensor([1]))


@pytest.mark.parametrize("assigner", ["atss", "dsla", "tal"])
@pytest.mark.parametrize("kind", ["qfl", "fl", "efl", "eqfl"])
def test_every_kind_goes_with_every_assigner_and_changes_the_classification_only(kind, assigner):
    config = LossConfig(classification=kind, assigner=assigner)
    equalizer = balance_of([[1.0, 3, 0], [2.0, 3, 5]], config) if config.equalized else None
    predictions, grid = make_predictions(), make_grid((64, 96), (8, 16, 32), 0.5)
    found = compute_losses(predictions, grid, make_truth(3), config, equalizer)
    usual = compute_losses(predictions, grid, make_truth(3), LossConfig(assigner=assigner))
    assert (found.box, found.side, found.positives) == (usual.box, usual.side, usual.positives)
    assert (found.cls == usual.cls) == (kind == "qfl")
    assert found.total.item() == pytest.approx((found.cls + 2 * found.box + 0.25 * found.side).item())
    found.total.backward()
    assert torch.isfinite(predictions.cls_logits.grad).all()
    ignored = (grid.points[:, 0] < 30) & (predictions.cls_logits.grad[1].abs().sum(dim=1) == 0)
    assert ignored.any()  # points of the ignored region without an object


@pytest.mark.parametrize("kind", ["fl", "efl", "eqfl"])
def test_a_batch_without_objects_and_bfloat16_predictions_are_fine(kind):
    config = LossConfig(classification=kind)
    equalizer = Equalizer(config, 3, CPU) if config.equalized else None
    halves = Predictions(*(x.detach().bfloat16().requires_grad_() for x in make_predictions()[:2]))
    losses = compute_losses(halves, make_grid((64, 96), (8, 16, 32), 0.5), make_truth(0), config, equalizer)
    assert all(value.dtype == torch.float32 for value in losses)
    losses.total.backward()
    assert halves.cls_logits.grad.any()
    if equalizer is not None:
        equalizer.add(1.0)
        equalizer.update(torch.zeros(()))
        assert equalizer.ratio().tolist() == [0.0] * 3


@pytest.mark.parametrize("kind", ["qfl", "fl", "efl", "eqfl"])
def test_padding_the_truth_changes_no_bit(kind):
    config = LossConfig(classification=kind)
    predictions, grid, truth = make_predictions(), make_grid((64, 96), (8, 16, 32), 0.5), make_truth(3)
    padded = Truth(*(torch.cat((part, torch.zeros(5, *part.shape[1:], dtype=part.dtype))) for part in truth))
    equalizers = [Equalizer(config, 3, CPU) if config.equalized else None for _ in range(2)]
    plain = compute_losses(predictions, grid, truth, config, equalizers[0])
    longer = compute_losses(predictions, grid, padded, config, equalizers[1])
    assert all(torch.equal(a, b) for a, b in zip(plain, longer, strict=True))
    for equalizer in equalizers:
        if equalizer is not None:
            equalizer.add(1.0)
            equalizer.update(torch.zeros(()))
    if config.equalized:
        assert torch.equal(equalizers[0].totals, equalizers[1].totals)


def test_focal_loss_without_alpha_is_what_qfl_would_be_with_a_quality_of_1():
    logits = torch.randn(2, 7, 3)
    found = of_kind(logits, LossConfig(classification="fl", alpha=None), None)
    target = torch.zeros(2, 7, 3)
    for place in POSITIVES:
        target[place] = 1.0
    torch.testing.assert_close(found, quality_focal_loss(logits, target, 2.0).sum(dim=-1))


@pytest.mark.parametrize("kind", ["fl", "efl"])
def test_guided_the_quality_weighs_the_loss_of_the_positives_class_alone(kind):
    config, logits = LossConfig(classification=kind), torch.randn(2, 7, 3).requires_grad_()
    slopes = []
    for weighed in (False, True):
        equalizer = balance_of([[1.0, 3, 0], [2.0, 3, 5]], config) if config.equalized else None
        loss = of_kind(logits, config, equalizer, guided=weighed).sum() / 3  # positives
        slopes.append(torch.autograd.grad(loss, logits)[0])
    for place in [(b, p, c) for b in range(2) for p in range(7) for c in range(3)]:
        expected = slopes[0][place] * POSITIVES.get(place, 1.0)
        assert slopes[1][place].item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-9)


def test_guided_the_account_of_the_classes_is_of_what_moves_their_logits():
    config, logits = LossConfig(classification="efl"), torch.randn(2, 7, 3).requires_grad_()
    equalizer = balance_of([[1.0, 3, 0], [2.0, 3, 5]], config)
    before = equalizer.totals.clone()
    (slope,) = torch.autograd.grad(of_kind(logits, config, equalizer, guided=True).sum() / 3, logits)
    equalizer.add(1.0)
    equalizer.update(torch.zeros(()))
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for b, p, c in [(b, p, c) for b in range(2) for p in range(7) for c in range(3)]:
        expected[0 if (b, p, c) in POSITIVES else 1, c] += slope[b, p, c].abs()
    torch.testing.assert_close(equalizer.totals - before, expected, rtol=1e-4, atol=1e-6)
