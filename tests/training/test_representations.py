"""Every representation of box and quality that is allowed is trained: every weight moves, the loss falls."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from nanogfl.config import BackboneConfig, Config, NeckConfig
from nanogfl.data.loader import Loader
from nanogfl.data.truth import Truth
from nanogfl.loss.assist import AssistBranch
from nanogfl.model.detector import build_detector
from nanogfl.training.datasets import load_data
from nanogfl.training.step import build_step
from tests.representations import DGQP, PER_LEVEL, RETINA, matching_loss
from tests.thinned import thinned

pytestmark = pytest.mark.slow  # all together longer than make check may take


def with_head(tiny: Config, head, **loss_keys) -> Config:
    model = replace(tiny.model, head=head)
    if head.kind == "shared":
        pyramid = NeckConfig("fpn", 16, extra_level=False, p6_from="c5")
        model = replace(model, backbone=BackboneConfig(kind="resnet18"), neck=pyramid)
    # weighted by its score, a box counts for nothing at first, and the sum of the losses rises before it falls
    loss = matching_loss(head, **{"box_weight": "none", **loss_keys})
    train = replace(tiny.train, precision="fp32", lr=0.01, warmup_steps=0, ema_decay=0.0)
    return Config(model=model, data=tiny.data, augment=tiny.augment, loss=loss, train=train)


def run(config: Config, steps: int) -> tuple[torch.nn.Module, list[dict[str, float]]]:
    """The same batch again and again."""
    torch.manual_seed(0)
    data = load_data(config)
    step = build_step(config, build_detector(config.model, 2), torch.device("cpu"))
    step.detector.train()
    before = {name: value.detach().clone() for name, value in step.detector.named_parameters()}
    batch = Loader(data.train, config, data.train_frames).batch(0, 0)
    log = []
    for number in range(steps):
        step.sums.zero_()
        step.accumulate(batch, number, detach_guide=False, share=1.0)
        for group in step.optimizer.param_groups:
            group["lr"] = config.train.lr
        step.update(number)
        sums, bad = step.read()
        assert bad is None
        log.append(dict(zip(("total", "cls", "box", "side", "quality", "positives"), sums, strict=True)))
    still = [name for name, value in step.detector.named_parameters() if torch.equal(value, before[name])]
    assert still == []
    return step.detector, log


@pytest.mark.parametrize(
    "name",
    thinned(
        [*PER_LEVEL, *DGQP], "dirac, none", "dirac, iou", "gaussian, centerness", "general, joint", "general+dfl, DGQP"
    ),
)
def test_a_few_steps_on_one_batch_lower_the_loss(tiny, name):
    head = {**PER_LEVEL, **DGQP}[name]
    _, log = run(with_head(tiny, head), 12)
    assert log[0]["positives"] > 0
    assert log[-1]["total"] < 0.9 * log[0]["total"]
    assert log[-1]["box"] < log[0]["box"]
    assert all((entry["side"] != 0) == (head.box in ("gaussian", "general+dfl")) for entry in log)
    assert all((entry["quality"] > 0) == (head.quality in ("centerness", "iou")) for entry in log)


def test_retinanet_learns(tiny):
    config = with_head(tiny, RETINA)
    _, log = run(replace(config, train=replace(config.train, lr=1e-3)), 15)
    assert log[0]["positives"] > 0
    assert log[-1]["total"] < 0.7 * log[0]["total"]
    assert all(entry["side"] == entry["quality"] == 0 for entry in log)


@pytest.mark.parametrize(
    ("assigner", "name"),
    thinned(
        product(("dsla", "tal"), ("dirac, iou", "gaussian, joint", "general+dfl, DGQP", "general, centerness")),
        ("dsla", "general+dfl, DGQP"),
        ("tal", "dirac, iou"),
    ),
)
def test_the_assigners_that_look_at_predictions_take_any_representation(tiny, name, assigner):
    head = {**PER_LEVEL, **DGQP}[name]
    _, log = run(with_head(tiny, head, assigner=assigner), 12)
    assert log[-1]["box"] < log[0]["box"]


@pytest.mark.parametrize("name", thinned(["gaussian, centerness", "general+dfl, DGQP"], "gaussian, centerness"))
def test_the_auxiliary_branch_has_the_same_representation(tiny, name):
    head = {**PER_LEVEL, **DGQP}[name]
    config = with_head(tiny, head, assigner="dsla", assist=True, assist_channels=64)
    detector, log = run(config, 3)
    assert log[0]["positives"] > 0
    assist = AssistBranch(detector, config.loss, config.model.activation)
    features = detector.backbone(detector.normalise(torch.zeros(2, 64, 96, 3, dtype=torch.uint8)))
    levels = detector.neck(features)
    own, guide = detector.read(detector.head(levels)), assist(features, levels, False)
    assert [x.shape for x in own] == [x.shape for x in guide]


def test_equalized_focal_loss_guided_by_the_quality(tiny):
    head = PER_LEVEL["general+dfl, iou-guided"]
    _, log = run(with_head(tiny, head, classification="efl"), 12)
    assert log[-1]["total"] < log[0]["total"]


@pytest.mark.parametrize(
    "head", [PER_LEVEL["gaussian, iou"], DGQP["general+dfl, DGQP"], RETINA], ids=["gaussian, iou", "DGQP", "RetinaNet"]
)
def test_steps_in_bfloat16_are_finite_and_move_every_weight(tiny, head):
    config = with_head(tiny, head, box_weight="none")
    _, log = run(replace(config, train=replace(config.train, precision="bf16")), 2)
    assert log[0]["positives"] > 0


def test_a_batch_without_objects_is_fine_with_anchors(tiny):
    config = with_head(tiny, RETINA)
    step = build_step(config, build_detector(config.model, 2), torch.device("cpu"))
    nothing = Truth(
        *(torch.zeros(0, 4), *[torch.zeros(0, dtype=torch.long)] * 2, torch.zeros(0, 4), torch.zeros(0).long())
    )
    outputs = step.forward(torch.zeros(2, 64, 96, 3, dtype=torch.uint8), torch.eye(3, 4).expand(2, 3, 4), False)
    losses = step.losses(outputs, nothing, step.assign(outputs, nothing))
    losses.total.backward()
    assert losses.box == losses.positives == 0
    assert losses.cls > 0
