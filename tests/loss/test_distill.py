"""What a teacher adds to the loss: each term against loops in float64, its gradient, its places, its means."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nanogfl.config import DistillConfig, HeadConfig
from nanogfl.loss.assign.candidates import Assignment
from nanogfl.loss.criterion import Losses
from nanogfl.loss.distill.criterion import DistilledLosses, Lesson, Pairing, with_distillation
from nanogfl.loss.distill.features import feature_error, standardised
from nanogfl.loss.distill.sides import bin_projection, side_divergence
from nanogfl.model.boxes.decode import expected_bins
from nanogfl.model.detector import Predictions

IMAGES, POINTS, CLASSES, BINS = 2, 10, 3, 6
OURS, THEIRS = [0, 2], [3, 1]  # the classes that both know, of 3 and of 4
STUDENT = HeadConfig(reg_max=BINS - 1)
NOTHING = Losses(*torch.zeros(len(Losses._fields)))


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def make_assignment() -> Assignment:
    """Pairs of (image, point): three positive, one that is not; an ignored point in each image."""
    ignored = torch.zeros(IMAGES, POINTS, dtype=torch.bool)
    ignored[0, 7] = ignored[1, 4] = True
    positive = torch.tensor([True, False, True, True])
    return Assignment(
        image=torch.tensor([0, 0, 1, 1]),
        point=torch.tensor([2, 3, 0, 8]),
        owner=torch.tensor([0, 0, 1, 1]),
        positive=positive,
        quality=torch.tensor([0.5, 0.6, 0.7, 0.8]),
        ignored=ignored,
    )


def make_student(quality: bool = False) -> Predictions:
    logits, sides = random(IMAGES, POINTS, CLASSES, seed=1), random(IMAGES, POINTS, 4, BINS, seed=2)
    branch = random(IMAGES, POINTS, seed=3).requires_grad_() if quality else None
    return Predictions(logits.requires_grad_(), sides.requires_grad_(), branch)


def make_teacher(bins: int = BINS, quality: bool = False) -> Predictions:
    branch = random(IMAGES, POINTS, seed=6) if quality else None
    return Predictions(random(IMAGES, POINTS, 4, seed=4), random(IMAGES, POINTS, 4, bins, seed=5), branch)


def make_pairing(teacher: HeadConfig = STUDENT, points: tuple[slice, ...] = (slice(0, POINTS),)) -> Pairing:
    return Pairing(
        levels=(),
        points=points,
        teacher_points=points,
        classes=torch.tensor(OURS),
        teacher_classes=torch.tensor(THEIRS),
        scores=True,
        sides=True,
        projection=bin_projection(teacher, STUDENT),
    )


def distil(student: Predictions, teacher: Predictions, config: DistillConfig, pairing: Pairing) -> DistilledLosses:
    return with_distillation(NOTHING, student, Lesson(teacher, [], []), pairing, make_assignment(), config, beta=2.0)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    weights = np.exp((logits - logits.max()) / temperature)
    return weights / weights.sum()


def as_array(tensor: torch.Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().numpy().astype(np.float64)


def slow_terms(
    student: Predictions, teacher: Predictions, config: DistillConfig, taught: set[int]
) -> tuple[float, float]:
    """Scores and sides, point by point; equal bins."""
    own, their = [as_array(part) for part in student], [as_array(part) for part in teacher]
    positive = {(0, 2), (1, 0), (1, 8)}
    ignored = {(0, 7), (1, 4)}
    cls = side = weights = 0.0
    for image in range(IMAGES):
        for point in sorted(taught):
            if (image, point) in ignored:
                continue
            their_quality = 1.0 if their[2] is None else sigmoid(their[2][image, point])
            own_quality = 1.0 if own[2] is None else sigmoid(own[2][image, point])
            for ours, theirs in zip(OURS, THEIRS, strict=True):
                y = sigmoid(their[0][image, point, theirs]) * their_quality
                s = sigmoid(own[0][image, point, ours]) * own_quality
                cls += abs(y - s) ** 2 * -(y * math.log(s) + (1 - y) * math.log(1 - s))
            if config.side_points == "positives" and (image, point) not in positive:
                continue
            weight = max(sigmoid(z) for z in their[0][image, point]) * their_quality
            weights += weight
            for k in range(4):
                p = softmax(their[1][image, point, k], config.temperature)
                q = softmax(own[1][image, point, k], config.temperature)
                side += weight * config.temperature**2 * float((p * np.log(p / q)).sum())
    return cls / len(positive), side / (4 * max(1.0, weights))


@pytest.mark.parametrize("quality", [False, True])
@pytest.mark.parametrize("side_points", ["positives", "all"])
@pytest.mark.parametrize("points", [(slice(0, POINTS),), (slice(1, 5), slice(7, 9))])
def test_scores_and_sides_are_those_of_a_loop(quality, side_points, points):
    student, teacher = make_student(quality), make_teacher(quality=quality)
    config = DistillConfig(cls=0.7, side=0.3, side_points=side_points, temperature=3.0)
    found = distil(student, teacher, config, make_pairing(points=points))
    taught = {point for part in points for point in range(part.start, part.stop)}
    cls, side = slow_terms(student, teacher, config, taught)
    assert found.distill_cls.item() == pytest.approx(cls, rel=1e-5)
    assert found.distill_side.item() == pytest.approx(side, rel=1e-5)
    assert found.total.item() == pytest.approx(0.7 * cls + 0.3 * side, rel=1e-5)
    assert min(cls, side) > 0.01


def test_the_gradient_is_that_of_differences():
    teacher, config = make_teacher(quality=True), DistillConfig(temperature=4.0)
    start = make_student(quality=True)
    variables = [part.detach().double().requires_grad_() for part in start]

    def total(*parts: torch.Tensor) -> torch.Tensor:
        return distil(Predictions(*parts), Predictions(*(p.double() for p in teacher)), config, make_pairing()).total

    total(*variables).backward()
    for number, variable in enumerate(variables):
        steepest = variable.grad.flatten().abs().argsort()[-5:]
        for place in steepest.tolist():

            def shifted(by: float, place=place, number=number) -> float:
                moved = [v.detach().clone() for v in variables]
                moved[number].view(-1)[place] += by
                return slow_total(Predictions(*moved), teacher, config)

            slope = (shifted(1e-4) - shifted(-1e-4)) / 2e-4
            assert variable.grad.flatten()[place].item() == pytest.approx(slope, rel=2e-3)


def slow_total(student: Predictions, teacher: Predictions, config: DistillConfig) -> float:
    cls, side = slow_terms(student, teacher, config, set(range(POINTS)))
    return config.cls * cls + config.side * side


def test_a_student_that_is_the_teacher_has_nothing_to_learn():
    student = make_student()
    pairing = replace(make_pairing(), classes=torch.arange(3), teacher_classes=torch.arange(3))
    losses = distil(student, Predictions(*(p if p is None else p.detach() for p in student)), DistillConfig(), pairing)
    assert losses.distill_cls < 1e-12
    assert losses.distill_side == 0
    losses.total.backward()
    assert student.cls_logits.grad.abs().max() < 1e-7
    assert student.box_pred.grad.abs().max() < 1e-6


def test_nothing_is_learned_in_ignored_regions_nor_of_other_classes():
    student, config = make_student(), DistillConfig(side_points="all")
    distil(student, make_teacher(), config, make_pairing()).total.backward()
    for grad in (student.cls_logits.grad, student.box_pred.grad):
        assert grad[0, 7].abs().sum() == grad[1, 4].abs().sum() == 0
        assert grad[0, 6].abs().sum() > 0
    assert student.cls_logits.grad[..., 1].abs().sum() == 0


def test_a_term_of_weight_0_is_off():
    student = make_student()
    pairing = replace(make_pairing(), scores=False)
    losses = distil(student, make_teacher(), DistillConfig(cls=0.0), pairing)
    assert losses.distill_cls == losses.distill_feature == 0
    assert losses.distill_side > 0
    losses.total.backward()
    assert student.cls_logits.grad is None


# The bins


def expectation(shares: torch.Tensor, width: float) -> torch.Tensor:
    return (shares * torch.arange(shares.shape[-1]) * width).sum(dim=-1)


def test_equal_bins_need_no_projection():
    assert bin_projection(STUDENT, STUDENT) is None


def test_a_bin_that_lies_on_another_goes_there_alone():
    shares = bin_projection(HeadConfig(reg_max=7, bin_width=0.3), HeadConfig(reg_max=30, bin_width=0.1))
    assert ((shares > 0).sum(dim=-1) == 1).all()


@pytest.mark.parametrize(
    "teacher",
    [
        HeadConfig(reg_max=7, point_offset=0.0),
        HeadConfig(reg_max=4, bin_width=1.5),
        HeadConfig(reg_max=20, bin_width=0.5, point_offset=0.25),
    ],
)
def test_other_bins_keep_each_sides_place_in_the_picture(teacher):
    student = HeadConfig(reg_max=16, bin_width=0.75)
    shares = bin_projection(teacher, student)
    assert shares.shape == (4, teacher.bins, student.bins)
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(4, teacher.bins))
    moved = student.point_offset - teacher.point_offset
    distances = torch.arange(teacher.bins) * teacher.bin_width
    for number, sign in enumerate((1, 1, -1, -1)):
        wanted = (distances + sign * moved).clamp(0, 16 * 0.75)
        torch.testing.assert_close(expectation(shares[number], 0.75), wanted)


@pytest.mark.parametrize("temperature", [1.0, 10.0])
@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        (HeadConfig(reg_max=7, point_offset=0.0), HeadConfig(reg_max=10)),
        (HeadConfig(reg_max=7), HeadConfig(reg_max=14, bin_width=0.5)),
        (HeadConfig(reg_max=7, point_offset=0.0), HeadConfig(reg_max=6, bin_width=1.5)),
    ],
)
def test_other_bins_are_those_of_a_loop(teacher, student, temperature):
    own = random(1, 2, 4, student.bins, seed=11).double().requires_grad_()
    theirs = random(1, 2, 4, teacher.bins, seed=12).double()
    found = side_divergence(own, theirs, bin_projection(teacher, student), temperature)
    moved = student.point_offset - teacher.point_offset
    for point in range(2):
        for k in range(4):
            shares, reached = np.zeros(student.bins), np.zeros(student.bins, dtype=bool)
            for number, p in enumerate(softmax(as_array(theirs[0, point, k]))):
                place = (number * teacher.bin_width + (moved if k < 2 else -moved)) / student.bin_width
                place = min(max(place, 0.0), float(student.reg_max))
                low = math.floor(place)
                for bin_, share in ((low, 1 - (place - low)), (low + 1, place - low)):
                    if share:
                        shares[bin_] += share * p
                        reached[bin_] = True
            p = shares[reached] ** (1 / temperature) / (shares[reached] ** (1 / temperature)).sum()
            q = softmax(as_array(own[0, point, k])[reached], temperature)
            wanted = temperature**2 * float((p * np.log(p / q)).sum())
            assert found[0, point, k].item() == pytest.approx(wanted, rel=1e-5)
    found.sum().backward()
    assert torch.isfinite(own.grad).all()


def test_a_student_that_agrees_has_the_teachers_expectation():
    """Found by descent on the divergence alone, from other bins, at a temperature."""
    teacher, student = HeadConfig(reg_max=7, point_offset=0.0), HeadConfig(reg_max=8)
    theirs = -(torch.arange(8.0) - torch.tensor([3.3, 2.0, 4.5, 1.4])[:, None]).abs()[None, None] * 3
    own = torch.zeros(1, 1, 4, student.bins, requires_grad=True)
    optimizer = torch.optim.Adam([own], lr=0.3)
    for _ in range(400):
        optimizer.zero_grad()
        side_divergence(own, theirs, bin_projection(teacher, student), 3.0).sum().backward()
        optimizer.step()
    reached = own.detach()
    reached[..., 2:, 8] = -1e5  # right and bottom: beyond what the teacher reaches from its points
    wanted = expected_bins(theirs)[0, 0] + torch.tensor([0.5, 0.5, -0.5, -0.5])
    torch.testing.assert_close(expected_bins(reached)[0, 0], wanted, rtol=0, atol=0.02)


@pytest.mark.parametrize("value", [0.0, 80.0, -80.0])
def test_bins_beyond_the_teachers_reach_are_left_to_the_objects(value):
    teacher, student = HeadConfig(reg_max=7), HeadConfig(reg_max=9)
    own, theirs = random(1, 1, 4, 10, seed=13), random(1, 1, 4, 8, seed=14)
    projection = bin_projection(teacher, student)
    before = side_divergence(own, theirs, projection, 10.0)
    own[..., 8:] = value
    own.requires_grad_()
    after = side_divergence(own, theirs, projection, 10.0)
    assert torch.equal(before, after)
    after.sum().backward()
    assert own.grad[..., 8:].abs().sum() == 0


# The features


def slow_feature_error(adapted: list[torch.Tensor], levels: list[torch.Tensor]) -> float:
    errors = []
    for own, theirs in zip(map(as_array, adapted), map(as_array, levels), strict=True):
        channels = theirs.transpose(1, 0, 2, 3)
        for channel in channels:
            channel -= channel.mean()
            channel /= math.sqrt((channel**2).mean() + 1e-6)
        errors.append(((own - theirs) ** 2).mean())
    return sum(errors) / len(errors)


def test_the_feature_loss_is_that_of_a_loop():
    levels = [random(2, 3, 4, 5, seed=7) * torch.tensor([1.0, 9.0, 0.0])[:, None, None] + 4, random(2, 3, 2, 1, seed=8)]
    adapted = [random(2, 3, 4, 5, seed=9).requires_grad_(), random(2, 3, 2, 1, seed=10).requires_grad_()]
    found = feature_error(adapted, standardised(levels))
    assert found.item() == pytest.approx(slow_feature_error(adapted, levels), rel=1e-5)
    found.backward()
    moved = [part.detach().clone().double() for part in adapted]
    moved[0][1, 2, 3, 4] += 1e-3
    slope = (slow_feature_error(moved, levels) - slow_feature_error(adapted, levels)) / 1e-3
    assert adapted[0].grad[1, 2, 3, 4].item() == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_zero_explains_nothing_and_the_teacher_everything():
    levels = [random(2, 3, 4, 5, seed=7)]
    assert feature_error([torch.zeros(2, 3, 4, 5)], standardised(levels)).item() == pytest.approx(1, rel=1e-5)
    assert feature_error(standardised(levels), standardised(levels)) == 0
