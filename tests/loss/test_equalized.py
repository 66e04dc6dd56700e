"""The account of the classes: P_j, N_j and gamma_j against loops over autograd's gradients, and several processes."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nanogfl.config import LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.candidates import Assignment
from nanogfl.loss.criterion import assisted_losses, losses_of_assignment
from nanogfl.loss.equalized import Equalizer
from nanogfl.model.boxes.decode import make_grid
from nanogfl.model.detector import Predictions

HW, STRIDES = (64, 96), (8, 16, 32)
CPU, GO_ON = torch.device("cpu"), torch.zeros(())
POINTS, CLASSES = 126, 3
TRUTH = Truth(
    torch.tensor([[4.0, 6, 40, 50], [30, 20, 90, 60], [10, 3, 90, 62]]),
    torch.tensor([1, 0, 1]),
    torch.tensor([0, 0, 1]),
    torch.zeros(0, 4),
    torch.zeros(0, dtype=torch.long),
)


def make_assignment() -> Assignment:
    """Objects 0, 0, 1, 2 at points of three levels, a pair that lost its point, an ignored half of a level."""
    ignored = torch.zeros(2, POINTS, dtype=torch.bool)
    ignored[1, 20:60] = True
    return Assignment(
        torch.tensor([0, 0, 0, 1, 1]),
        torch.tensor([14, 100, 45, 121, 121]),
        torch.tensor([0, 0, 1, 2, 2]),
        torch.tensor([True, True, True, True, False]),
        torch.tensor([0.7, 0.0, 0.4, 0.9, 0.9]),
        ignored,
    )


def make_batch() -> Predictions:
    return Predictions((2 * torch.randn(2, POINTS, CLASSES) - 1).requires_grad_(), torch.randn(2, POINTS, 4, 8))


def slow_step(
    logits: torch.Tensor, assignment: Assignment, config: LossConfig, gamma: list[float]
) -> tuple[list[float], list[float]]:
    """The loss from probabilities, in float64 -> the sums of |dL/dz| at positives and negatives of each class."""
    quality = {}
    for pair in range(len(assignment.point)):
        if assignment.positive[pair]:
            label = TRUTH.labels[assignment.owner[pair]].item()
            place = (assignment.image[pair].item(), assignment.point[pair].item(), label)
            quality[place] = assignment.quality[pair].item() if config.classification == "eqfl" else 1.0
    z = logits.detach().double().requires_grad_()
    sigma, total = 1 / (1 + (-z).exp()), 0.0
    everywhere = [(b, p, c) for b in range(2) for p in range(POINTS) for c in range(CLASSES)]
    for b, p, c in everywhere:
        if assignment.ignored[b, p]:
            continue
        y, s = quality.get((b, p, c), 0.0), sigma[b, p, c]
        loss = (
            -gamma[c] / config.gamma * (y - s).abs() ** gamma[c] * ((1 - y) * (1 - s).log() + (y * s.log() if y else 0))
        )
        if config.classification == "efl" and config.alpha is not None:
            loss = loss * (config.alpha if y else 1 - config.alpha)
        total = total + loss
    (slope,) = torch.autograd.grad(total / len(quality), z)
    positive, negative = [0.0] * CLASSES, [0.0] * CLASSES
    for b, p, c in everywhere:
        (positive if quality.get((b, p, c), 0.0) > 0 else negative)[c] += abs(slope[b, p, c].item())
    return positive, negative


@pytest.mark.parametrize(
    "config",
    [
        LossConfig(classification="efl"),
        LossConfig(classification="efl", alpha=None, gamma=1.5, efl_scale=4.0, cls=0.5),
        LossConfig(classification="eqfl"),
    ],
    ids=["efl", "efl without alpha", "eqfl"],
)
def test_three_steps_are_accounted_for_as_by_hand(config):
    equalizer, assignment, grid = Equalizer(config, CLASSES, CPU), make_assignment(), make_grid(HW, STRIDES, 0.5)
    positive, negative = [0.0] * CLASSES, [0.0] * CLASSES
    gamma = [config.gamma] * CLASSES
    for shares in ((1.0,), (0.5, 0.5), (0.5, 0.5)):  # of one batch, then of two for an update
        sums = []
        for share in shares:
            predictions = make_batch()
            assert equalizer.focus().gamma.tolist() == pytest.approx(gamma, rel=1e-5)
            losses_of_assignment(predictions, grid, TRUTH, assignment, config, equalizer)
            equalizer.add(share)
            sums.append(slow_step(predictions.cls_logits, assignment, config, gamma))
        equalizer.update(GO_ON)
        for c in range(CLASSES):
            positive[c] += sum(share * up[c] for share, (up, _) in zip(shares, sums, strict=True))
            negative[c] += sum(share * down[c] for share, (_, down) in zip(shares, sums, strict=True))
        for found, expected in zip(equalizer.totals.tolist(), (positive, negative), strict=True):
            assert found == pytest.approx(expected, rel=1e-4)
        ratio = [min(1.0, p / (n + 1e-10)) for p, n in zip(positive, negative, strict=True)]
        gamma = [config.gamma + config.efl_scale * (1 - g) for g in ratio]
        assert equalizer.ratio().tolist() == pytest.approx(ratio, rel=1e-4)
        weight = [g / config.gamma for g in gamma]
        assert equalizer.focus().weight.tolist() == pytest.approx(weight, rel=1e-4)
    assert gamma[2] == config.gamma + config.efl_scale  # a class without an object
    assert 0 < ratio[0] < 1


@pytest.mark.parametrize("kind", ["efl", "eqfl"])
def test_what_is_observed_is_the_gradient_that_reaches_the_logits(kind):
    """Autograd's own, of the total, of which the classification is a part of weight 1."""
    config = LossConfig(classification=kind)
    equalizer, assignment, predictions = Equalizer(config, CLASSES, CPU), make_assignment(), make_batch()
    equalizer.totals += torch.tensor([[1.0, 2, 0], [3, 2.5, 4]])
    losses = losses_of_assignment(predictions, make_grid(HW, STRIDES, 0.5), TRUTH, assignment, config, equalizer)
    losses.total.backward()
    before = equalizer.totals.clone()
    equalizer.add(1.0)
    equalizer.update(GO_ON)
    size = predictions.cls_logits.grad.abs().sum(dim=(0, 1))
    torch.testing.assert_close((equalizer.totals - before).sum(dim=0).float(), size, rtol=1e-4, atol=1e-7)


def test_at_the_start_every_class_is_in_balance():
    focus = Equalizer(LossConfig(classification="efl", gamma=1.5), 4, CPU).focus()
    assert focus.gamma.tolist() == [1.5] * 4
    assert focus.weight.tolist() == [1.0] * 4


def test_the_ratio_lies_between_0_and_1():
    equalizer = Equalizer(LossConfig(classification="efl"), 4, CPU)
    equalizer.totals += torch.tensor([[0.0, 1, 5, 3], [2, 4, 2, 3]])
    assert equalizer.ratio().tolist() == pytest.approx([0, 0.25, 1, 1])
    assert equalizer.focus().gamma.tolist() == pytest.approx([10, 8, 2, 2])
    assert equalizer.focus().weight.tolist() == pytest.approx([5, 4, 1, 1])


def test_no_gradient_goes_through_the_focus():
    config = LossConfig(classification="efl")
    equalizer, predictions = Equalizer(config, CLASSES, CPU), make_batch()
    losses_of_assignment(predictions, make_grid(HW, STRIDES, 0.5), TRUTH, make_assignment(), config, equalizer)
    equalizer.add(1.0)
    equalizer.update(GO_ON)
    assert not any(value.requires_grad for value in (*equalizer.focus(), equalizer.totals))


def test_only_batches_that_were_added_to_an_update_count_once():
    config = LossConfig(classification="efl")
    equalizer, assignment, grid = Equalizer(config, CLASSES, CPU), make_assignment(), make_grid(HW, STRIDES, 0.5)

    def observe() -> None:
        losses_of_assignment(make_batch(), grid, TRUTH, assignment, config, equalizer)

    observe()
    equalizer.update(GO_ON)
    assert not equalizer.totals.any()
    observe()
    equalizer.add(1.0)
    assert equalizer.focus().gamma.tolist() == [2.0] * CLASSES  # not before the weights have changed
    equalizer.update(GO_ON)
    once = equalizer.totals.clone()
    assert once[1].all()
    equalizer.update(GO_ON)
    assert torch.equal(equalizer.totals, once)


def test_a_step_that_changes_no_weight_is_not_counted():
    config = LossConfig(classification="efl")
    equalizer = Equalizer(config, CLASSES, CPU)
    equalizer.observe(torch.full((2, POINTS, CLASSES), math.nan), torch.zeros(2, POINTS, CLASSES))
    equalizer.add(1.0)
    equalizer.update(torch.ones(()))
    assert equalizer.totals.tolist() == [[0.0] * CLASSES] * 2


def test_the_account_outlives_a_checkpoint_to_the_bit():
    config = LossConfig(classification="eqfl")
    first, second = Equalizer(config, CLASSES, CPU), Equalizer(config, CLASSES, CPU)
    first.totals += torch.rand(2, CLASSES)
    state = first.state_dict()
    first.totals += 1  # the state is a copy
    second.load_state_dict(state)
    assert torch.equal(second.totals, first.totals - 1)
    assert second.totals.dtype == torch.float64


def test_beside_an_auxiliary_branch_the_detectors_own_logits_are_observed():
    config = LossConfig(classification="efl", assigner="dsla", assist=True)
    grid, assignment, own, guide = make_grid(HW, STRIDES, 0.5), make_assignment(), make_batch(), make_batch()
    equalizers = [Equalizer(config, CLASSES, CPU) for _ in range(2)]
    losses = assisted_losses(own, guide, grid, TRUTH, assignment, config, equalizers[0])
    alone = losses_of_assignment(own, grid, TRUTH, assignment, config, equalizers[1])
    other = losses_of_assignment(guide, grid, TRUTH, assignment, config, Equalizer(config, CLASSES, CPU))
    assert losses.total.item() == pytest.approx((alone.total + other.total).item())
    for equalizer in equalizers:
        equalizer.add(1.0)
        equalizer.update(GO_ON)
    assert torch.equal(equalizers[0].totals, equalizers[1].totals)


PROCESS = """
import json, sys, torch
from nanogfl.config import LossConfig
from nanogfl.loss.equalized import Equalizer
rank, meeting = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
equalizer = Equalizer(LossConfig(classification="efl"), 2, torch.device("cpu"))
target = torch.zeros(1, 3, 2)
target[0, 1, rank] = 1.0
for step in range(3):
    equalizer.observe(torch.full((1, 3, 2), 1.0 + rank + step), target)
    equalizer.add(1.0)
    equalizer.update(torch.tensor(float(rank == 1 and step == 2)))  # the last step of the second process is bad
print(json.dumps([equalizer.totals.tolist(), equalizer.focus().gamma.tolist()]))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_keep_one_account(tmp_path):
    root = Path(__file__).parents[2]
    commands = [[sys.executable, "-c", PROCESS, str(rank), str(tmp_path / "meeting")] for rank in range(2)]
    processes = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for command in commands]
    found = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert found[0] == found[1]
    # slopes 1, 2, 3 in the first process and 2, 3 in the second, at 3 points: one positive, of another class in each
    # (the mean of both; the ratio is that of the sums)
    assert found[0][0] == [[6.0 / 2, 5.0 / 2], [(2 * 6.0 + 3 * 5.0) / 2, (3 * 6.0 + 2 * 5.0) / 2]]
    assert found[0][1] == pytest.approx([2 + 8 * (1 - 6 / 27), 2 + 8 * (1 - 5 / 28)])
