"""The auxiliary branch: what it is made of, whom it teaches, and that the detector does not know it."""

import pytest
import torch
from torch import nn

from nanogfl.config import BackboneConfig, HeadConfig, LossConfig, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.assign import assign
from nanogfl.loss.assist import AssistBranch
from nanogfl.loss.criterion import assisted_losses, losses_of_assignment
from nanogfl.model.detector import Predictions, build_detector

CONFIG = LossConfig(assigner="dsla", assist=True, assist_channels=48)
MODEL = ModelConfig(
    InputSpec((64, 96)), "leaky_relu", BackboneConfig("0.5x"), NeckConfig("ghost_pan", 16), HeadConfig(reg_max=5)
)
TRUTH = Truth(
    torch.tensor([[4.0, 6, 40, 50], [30, 20, 90, 60], [10, 3, 90, 62]]),
    torch.tensor([1, 0, 2]),
    torch.tensor([0, 0, 1]),
    torch.zeros(0, 4),
    torch.zeros(0, dtype=torch.long),
)


def step(detector, branch, *, detach: bool) -> tuple[Predictions, Predictions]:
    features = detector.backbone(detector.normalise(torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)))
    levels = detector.neck(features)
    return detector.read(detector.head(levels)), branch(features, levels, detach)


def make() -> tuple:
    detector = build_detector(MODEL, 3)
    return detector, AssistBranch(detector, CONFIG, MODEL.activation)


def test_it_answers_as_the_detector_does():
    main, auxiliary = step(*make(), detach=False)
    assert auxiliary.cls_logits.shape == main.cls_logits.shape == (2, 128, 3)
    assert auxiliary.box_pred.shape == main.box_pred.shape == (2, 128, 4, 6)
    assert auxiliary.cls_logits.mean().item() == pytest.approx(-4.595, abs=0.2)


def test_it_is_arranged_as_nanodet_plus():
    detector, branch = make()
    assert all(torch.equal(a, b) for a, b in zip(branch.neck.parameters(), detector.neck.parameters(), strict=True))
    assert not {id(p) for p in branch.parameters()} & {id(p) for p in detector.parameters()}
    for tower in (branch.head.class_tower, branch.head.box_tower):
        convs = [module for module in tower if isinstance(module, nn.Conv2d)]
        assert [(c.in_channels, c.out_channels, c.kernel_size, c.groups) for c in convs] == (
            [(32, 48, (3, 3), 1)] + 3 * [(48, 48, (3, 3), 1)]
        )
        assert sum(isinstance(module, nn.GroupNorm) for module in tower) == 4
    assert branch.head.class_output.kernel_size == branch.head.box_output.kernel_size == (3, 3)
    assert branch.head.scales.shape == (4,)


def test_the_features_and_the_scale_of_each_level_reach_its_own_points():
    detector, branch = make()
    detector.eval(), branch.eval()
    torch.manual_seed(1)
    before = step(detector, branch, detach=False)[1]
    with torch.no_grad():
        branch.head.scales[2] *= 2
    torch.manual_seed(1)
    after = step(detector, branch, detach=False)[1]
    assert torch.equal(before.cls_logits, after.cls_logits)
    moved = (before.box_pred != after.box_pred).flatten(2).any(dim=2)
    start, end = sum(detector.grid.level_sizes[:2]), sum(detector.grid.level_sizes[:3])
    assert moved[:, start:end].all()
    assert not moved[:, :start].any()
    assert not moved[:, end:].any()


def test_detached_it_leaves_backbone_and_neck_alone_but_learns_itself():
    detector, branch = make()
    for detach in (False, True):
        detector.zero_grad()
        branch.zero_grad()
        auxiliary = step(detector, branch, detach=detach)[1]
        (auxiliary.cls_logits.square().sum() + auxiliary.box_pred.square().sum()).backward()
        reached = [p.grad is not None for part in (detector.backbone, detector.neck) for p in part.parameters()]
        assert any(reached) == (not detach)
        assert all(p.grad is not None and p.grad.any() for p in branch.parameters())
        assert all(p.grad is None for p in detector.head.parameters())


def test_the_auxiliary_predictions_assign_and_both_heads_learn_from_it():
    main, auxiliary = step(*make(), detach=False)
    grid = make()[0].grid
    assignment = assign(auxiliary, grid, TRUTH, CONFIG)
    own = losses_of_assignment(main, grid, TRUTH, assignment, CONFIG)
    guide = losses_of_assignment(auxiliary, grid, TRUTH, assignment, CONFIG)
    found = assisted_losses(main, auxiliary, grid, TRUTH, assign(auxiliary, grid, TRUTH, CONFIG), CONFIG)
    assert found.total.item() == pytest.approx((own.total + guide.total).item())
    assert (found.cls, found.box, found.side, found.positives) == (own.cls, own.box, own.side, own.positives)
    assert found.positives > 0
    swapped = assisted_losses(auxiliary, main, grid, TRUTH, assign(main, grid, TRUTH, CONFIG), CONFIG)
    assert swapped.total.item() != pytest.approx(found.total.item())
    for predictions in (main, auxiliary):
        slopes = torch.autograd.grad(found.total, predictions[:2], retain_graph=True)
        assert all(slope.any() for slope in slopes)


def test_the_detector_does_not_know_it():
    torch.manual_seed(3)
    plain = build_detector(MODEL, 3)
    torch.manual_seed(3)
    detector = build_detector(MODEL, 3)
    AssistBranch(detector, CONFIG, MODEL.activation)
    assert detector.state_dict().keys() == plain.state_dict().keys()
    assert not any("assist" in name for name, _ in detector.named_modules())
    picture = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    assert all(torch.equal(a, b) for a, b in zip(detector.eval()(picture)[:2], plain.eval()(picture)[:2], strict=True))


def test_the_neck_of_the_branch_learns_though_the_detectors_is_frozen():
    detector = build_detector(MODEL, 3)
    detector.neck.requires_grad_(False)
    branch = AssistBranch(detector, CONFIG, MODEL.activation)
    assert all(p.requires_grad for p in branch.parameters())
    assert not any(p.requires_grad for p in detector.neck.parameters())
