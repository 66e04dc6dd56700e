"""Weights and gradients of the whole loss; test_representation_losses.py compares it with a loop."""

import math

import pytest
import torch

from nanogfl.config import LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.candidates import Assignment
from nanogfl.loss.criterion import compute_losses, losses_of_assignment
from nanogfl.model.boxes.decode import Grid, decode_boxes, make_grid
from nanogfl.model.detector import Predictions

HW, STRIDES, REG_MAX = (64, 96), (8, 16, 32, 64), 7


def make_truth(boxes, labels, images, ignored=(), ignored_images=()) -> Truth:
    return Truth(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.long),
        torch.tensor(images, dtype=torch.long),
        torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(ignored_images, dtype=torch.long),
    )


def predict(batch: int, classes: int, reg_max: int = REG_MAX) -> Predictions:
    points = len(make_grid(HW, STRIDES, 0.5).points)
    return Predictions(
        (torch.randn(batch, points, classes) * 2).requires_grad_(),
        (torch.randn(batch, points, 4, reg_max + 1) * 2).requires_grad_(),
    )


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def overlap(a, b) -> tuple[float, float]:
    """IoU and GIoU."""
    both = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return both / union, both / union - (hull - union) / hull


TRUTHS = {
    "objects in two of three images": make_truth(
        [[4, 6, 40, 50], [30, 20, 90, 60], [0, 0, 96, 64], [50, 3, 70, 22]], [1, 0, 2, 1], [0, 0, 2, 2]
    ),
    "with ignored regions": make_truth(
        [[4, 6, 40, 50], [50, 3, 70, 22]], [1, 2], [0, 2], [[30, 10, 96, 64], [0, 0, 50, 40]], [0, 1]
    ),
    "one small object": make_truth([[10, 10, 22, 21]], [0], [1]),
    "no objects": make_truth([], [], []),
}


def test_the_papers_weights_are_the_defaults():
    config = LossConfig()
    assert (config.cls, config.box, config.side, config.beta, config.atss_candidates) == (1.0, 2.0, 0.25, 2.0, 9)
    grid, predictions = make_grid(HW, STRIDES, 0.5), predict(3, 3)
    found = compute_losses(predictions, grid, TRUTHS["objects in two of three images"], config)
    assert found.total.item() == pytest.approx((found.cls + 2 * found.box + 0.25 * found.side).item())


def test_the_weights_of_positives_are_at_least_1_together():
    """With tiny scores the mean would otherwise be taken over almost nothing."""
    grid, truth = make_grid(HW, STRIDES, 0.5), make_truth([[10, 10, 22, 21]], [0], [0])
    logits = torch.full((1, 128, 1), -6.0)
    found = compute_losses(Predictions(logits, torch.zeros(1, 128, 4, 8)), grid, truth, LossConfig())
    assert found.positives >= 1
    assert found.box.item() <= 2 * found.positives.item() * sigmoid(-6.0)
    assert found.side.item() == pytest.approx(found.positives.item() * sigmoid(-6.0) * math.log(8), rel=1e-4)


def one_positive(predictions: Predictions, grid: Grid, truth: Truth, point: int = 40) -> Assignment:
    """The first object at one point, with the IoU of the box predicted there as its quality."""
    predicted = decode_boxes(predictions.box_pred.detach(), grid)[0, point]
    quality = overlap(predicted.tolist(), truth.boxes[0].tolist())[0]
    return Assignment(
        torch.tensor([0]),
        torch.tensor([point]),
        torch.tensor([0]),
        torch.tensor([True]),
        torch.tensor([quality]),
        torch.zeros(1, 128, dtype=torch.bool),
    )


def test_no_gradient_reaches_the_class_logits_through_the_weights():
    """giou and dfl are weighted by detached scores: their gradient in the class logits is nothing."""
    grid, predictions, truth = make_grid(HW, STRIDES, 0.5), predict(1, 2), make_truth([[20, 20, 60, 50]], [1], [0])
    losses = losses_of_assignment(predictions, grid, truth, one_positive(predictions, grid, truth), LossConfig())
    assert losses.box.requires_grad
    for loss in (losses.box, losses.side):
        (slope,) = torch.autograd.grad(loss, predictions.cls_logits, retain_graph=True, allow_unused=True)
        assert slope is None or not slope.any()


def test_no_gradient_reaches_the_boxes_through_the_quality():
    grid, predictions, truth = make_grid(HW, STRIDES, 0.5), predict(1, 2), make_truth([[20, 20, 60, 50]], [1], [0])
    losses = losses_of_assignment(predictions, grid, truth, one_positive(predictions, grid, truth), LossConfig())
    (slope,) = torch.autograd.grad(losses.cls, predictions.box_pred, allow_unused=True)
    assert slope is None or not slope.any()


def test_only_positives_have_a_gradient_in_their_distributions():
    grid, predictions, truth = make_grid(HW, STRIDES, 0.5), predict(1, 2), make_truth([[20, 20, 60, 50]], [1], [0])
    losses_of_assignment(
        predictions, grid, truth, one_positive(predictions, grid, truth), LossConfig()
    ).total.backward()
    assert predictions.box_pred.grad[0].abs().sum(dim=(1, 2)).nonzero().flatten().tolist() == [40]
    assert (predictions.cls_logits.grad != 0).all()


def test_points_in_ignored_regions_have_no_gradient():
    grid, predictions = make_grid(HW, STRIDES, 0.5), predict(2, 3)
    truth = make_truth([], [], [], [[0, 0, 48, 64]], [1])
    compute_losses(predictions, grid, truth, LossConfig()).total.backward()
    moved = predictions.cls_logits.grad.abs().sum(dim=-1) > 0
    assert moved[0].all()
    assert torch.equal(moved[1], grid.points[:, 0] >= 48)


def test_an_empty_batch_of_truths_can_be_differentiated():
    predictions = predict(2, 3)
    found = compute_losses(predictions, make_grid(HW, STRIDES, 0.5), TRUTHS["no objects"], LossConfig())
    assert (found.box.item(), found.side.item(), found.positives.item()) == (0, 0, 0)
    found.total.backward()
    assert predictions.cls_logits.grad.any()
    assert not predictions.box_pred.grad.any()


def test_an_object_too_large_for_the_bins_is_learned_at_the_last_one():
    """Distances are clamped a tenth below the last bin: descent ends there."""
    grid = make_grid(HW, STRIDES, 0.5)
    point = 4 * 12 + 6  # stride 8, at (52, 36): 6.5, 4.5, 5.5, 3.5 strides
    wide = make_truth([[-100, 0, 96, 64]], [0], [0])
    distributions = torch.zeros(1, 128, 4, 8, requires_grad=True)
    optimizer = torch.optim.Adam([distributions], lr=0.3)
    for _ in range(200):
        predictions = Predictions(torch.zeros(1, 128, 1), distributions)
        optimizer.zero_grad()
        assignment = one_positive(predictions, grid, wide, point)
        losses_of_assignment(predictions, grid, wide, assignment, LossConfig(box=0.0)).total.backward()
        optimizer.step()
    ends = distributions.detach()[0, point].softmax(-1) @ torch.arange(8.0)
    assert ends.tolist() == pytest.approx([6.9, 4.5, 5.5, 3.5], abs=0.02)
