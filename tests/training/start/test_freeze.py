"""Frozen parts: no gradient, no decay, no state, the same statistics; and what cannot be frozen."""

from typing import get_args

import pytest
import torch

from nanogfl.config import BackboneConfig, HeadConfig, ModelConfig, NeckConfig, Part, TrainConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.errors import UserError
from nanogfl.model.detector import build_detector
from nanogfl.recipe import config_from_dict
from nanogfl.training.optim import build_optimizer
from nanogfl.training.start.freeze import FrozenParts, part_of
from tests.thinned import thinned

MODEL = ModelConfig(InputSpec((64, 96)), backbone=BackboneConfig("0.5x"), neck=NeckConfig(channels=8))
PAPERS = ModelConfig(
    InputSpec((64, 96)),
    backbone=BackboneConfig(kind="resnet18"),
    neck=NeckConfig("fpn", 64, extra_level=False),
    head=HeadConfig(1, kind="shared"),
)
PREFIXES = {
    "backbone": "backbone.",
    "backbone.stem": "backbone.conv1.",
    "backbone.stage2": "backbone.stage2.",
    "backbone.stage3": "backbone.stage3.",
    "backbone.stage4": "backbone.stage4.",
    "neck": "neck.",
    "head": "head.",
    "head.towers": "head.towers.",
}
PAPERS_PREFIXES = {
    "backbone": ("backbone.",),
    "backbone.stem": ("backbone.conv1.", "backbone.bn1."),
    "backbone.stage1": ("backbone.layer1.",),
    "backbone.stage2": ("backbone.layer2.",),
    "backbone.stage3": ("backbone.layer3.",),
    "backbone.stage4": ("backbone.layer4.",),
    "neck": ("neck.",),
    "head": ("head.",),
    "head.towers": ("head.class_tower.", "head.box_tower."),
}


def test_every_part_is_tested():
    assert {*PREFIXES, "backbone.stage1", "backbone.statistics"} == set(get_args(Part))
    assert {*PAPERS_PREFIXES, "backbone.statistics"} == set(get_args(Part))


@pytest.mark.parametrize(
    ("model", "part", "inside"),
    thinned(
        [(MODEL, part, inside) for part, inside in PREFIXES.items()]
        + [(PAPERS, part, inside) for part, inside in PAPERS_PREFIXES.items()],
        *[(MODEL, part, PREFIXES[part]) for part in ("backbone", "backbone.stage3", "head.towers")],
        *[(PAPERS, part, PAPERS_PREFIXES[part]) for part in ("backbone.stem", "backbone.stage1", "neck")],
    ),
)
def test_two_steps_change_everything_but_the_frozen_part(model, part, inside):
    torch.manual_seed(0)
    detector = build_detector(model, 2)
    frozen = FrozenParts(detector, (part,))
    optimizer = build_optimizer(detector, TrainConfig(lr=0.01, weight_decay=0.1))
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    for _ in range(2):
        frozen.train_mode(detector)
        out = detector(torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8))
        (out.cls_logits.square().mean() + out.box_pred.square().mean()).backward()
        optimizer.step()
    for name, value in detector.state_dict().items():
        if name.startswith(inside) or name in ("mean", "std"):
            assert torch.equal(value, before[name]), name
        elif value.is_floating_point():
            assert not torch.equal(value, before[name]), name
    parameters = dict(detector.named_parameters())
    assert all(p.grad is None for name, p in parameters.items() if name.startswith(inside))
    known = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(known) == sorted(id(p) for name, p in parameters.items() if not name.startswith(inside))
    assert len(optimizer.state) == len(known)


def test_frozen_statistics_stay_while_the_norms_scales_and_shifts_are_trained():
    torch.manual_seed(0)
    detector = build_detector(PAPERS, 2)
    frozen = FrozenParts(detector, ("backbone.statistics",))
    optimizer = build_optimizer(detector, TrainConfig(lr=0.01))
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    for _ in range(2):
        frozen.train_mode(detector)
        out = detector(torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8))
        (out.cls_logits.square().mean() + out.box_pred.square().mean()).backward()
        optimizer.step()
    for name, value in detector.state_dict().items():
        still = name in ("mean", "std") or name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(value, before[name]) == still, name
    assert all(p.requires_grad for p in detector.parameters())


def test_a_part_that_the_backbone_has_not_is_one_sentence():
    with pytest.raises(UserError, match=r"train\.freeze backbone\.stage1: ShuffleNetV2 has no such part"):
        FrozenParts(build_detector(MODEL, 2), ("backbone.stage1",))


def test_random_statistics_are_not_frozen():
    detector = build_detector(PAPERS, 2)
    frozen = FrozenParts(detector, ("backbone.statistics",))
    every = frozenset(n for n in detector.state_dict() if not n.endswith("num_batches_tracked"))
    frozen.require_loaded(detector, every)
    with pytest.raises(UserError, match=r"keeps backbone\.statistics .* 1 of .*\(backbone\.bn1\.running_var\)"):
        frozen.require_loaded(detector, every - {"backbone.bn1.running_var"})


def test_what_is_frozen_is_printed_with_the_parameters_that_are_left():
    detector = build_detector(MODEL, 2)
    every = sum(p.numel() for p in detector.parameters())
    left = sum(p.numel() for name, p in detector.named_parameters() if not name.startswith(("backbone.", "neck.")))
    (line,) = FrozenParts(detector, ("neck", "backbone")).lines()
    assert line == f"frozen: backbone, neck; {left:,} of {every:,} parameters are trained"
    assert list(FrozenParts(build_detector(MODEL, 2), ()).lines()) == []


def test_freezing_everything_is_one_sentence():
    with pytest.raises(UserError, match="leaves nothing to train"):
        FrozenParts(build_detector(MODEL, 2), ("backbone", "neck", "head"))


def test_random_weights_are_not_frozen():
    detector = build_detector(MODEL, 2)
    frozen = FrozenParts(detector, ("backbone.stage3", "head.towers"))
    everything = frozenset(detector.state_dict())
    frozen.require_loaded(detector, everything)
    frozen.require_loaded(detector, frozenset(n for n in everything if "outputs" not in n))
    with pytest.raises(UserError, match=r"keeps head\.towers as it is, but 1 of .*\(head\.towers\.0\.0\.depthwise"):
        frozen.require_loaded(detector, everything - {"head.towers.0.0.depthwise.0.weight"})
    with pytest.raises(UserError, match=r"keeps backbone\.stage3 .* random weights"):
        frozen.require_loaded(detector, frozenset())


def test_every_tensor_lies_in_a_part():
    names = set(build_detector(MODEL, 2).state_dict()) - {"mean", "std"}
    assert {part_of(name) for name in names} == set(PREFIXES) - {"backbone", "head"} | {"head.outputs"}
    assert part_of("head.towers.0.0.depthwise.0.weight") == "head.towers"
    assert part_of("backbone.conv1.0.weight") == "backbone.stem"
    names = set(build_detector(PAPERS, 2).state_dict()) - {"mean", "std"}
    assert {part_of(name) for name in names} == set(PAPERS_PREFIXES) - {"backbone", "head"} | {"head.outputs"}
    assert part_of("head.scales") == "head.outputs"


@pytest.mark.parametrize("value", [["backbon"], ["backbone.stage5"], "backbone", ["neck", ""], ["head.outputs"]])
def test_a_misspelt_part_is_a_config_error(value):
    with pytest.raises(UserError, match=r"train\.freeze"):
        config_from_dict({"train": {"freeze": value}}, "x")
