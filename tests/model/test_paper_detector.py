"""ResNet, pyramid and shared head together: parameters by formula, sizes that are odd, points of strides 64 and 128."""

import math

import pytest
import torch

from nanogfl.config import BackboneConfig, HeadConfig, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.model.boxes.decode import decode_boxes
from nanogfl.model.detector import Detector, build_detector
from nanogfl.model.summary import count_complexity

STRIDES = (8, 16, 32, 64, 128)


def config(hw=(96, 160), kind="resnet18", channels=64, convs=1, reg_max=4, **more) -> ModelConfig:
    return ModelConfig(
        InputSpec(hw),
        backbone=BackboneConfig(kind=kind),
        neck=NeckConfig("fpn", channels, extra_level=False),
        head=HeadConfig(convs, kind="shared", reg_max=reg_max),
        **more,
    )


def picture(detector: Detector, count: int = 1) -> torch.Tensor:
    return torch.randint(0, 256, (count, *detector.hw, 3), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("kind", "trunk"), [("resnet50", 23_508_032), ("resnet101", 42_500_160), ("resnet18", 11_176_512)]
)
def test_gfls_parameters_by_formula(kind, trunk):
    """About 32 million with ResNet-50."""
    c3, c4, c5 = (128, 256, 512) if kind == "resnet18" else (512, 1024, 2048)
    dense = 256 * 256 * 9
    pyramid = (c3 + c4 + c5) * 256 + 3 * 256 + 5 * (dense + 256)
    head = 8 * (dense + 2 * 256) + (256 * 9 + 1) * (80 + 4 * 17) + 5
    with torch.device("meta"):
        detector = build_detector(config((800, 1344), kind, 256, 4, 16), 80)
        size = count_complexity(detector)
    assert sum(p.numel() for p in detector.backbone.parameters()) == trunk
    assert size.parameters == trunk + pyramid + head


def test_the_heads_macs_count_every_level():
    with torch.device("meta"):
        one, two = (count_complexity(build_detector(config(convs=convs), 3)).macs for convs in (1, 2))
    points = 12 * 20 + 6 * 10 + 3 * 5 + 2 * 3 + 1 * 2
    assert two - one == 2 * points * 64 * 64 * 9


@pytest.mark.parametrize("hw", [(96, 160), (128, 256), (32, 224), (160, 96)])
def test_the_grid_has_a_point_for_every_cell(hw):
    detector = build_detector(config(hw), 3).eval()
    out = detector(picture(detector, 2))
    sizes = [math.ceil(hw[0] / s) * math.ceil(hw[1] / s) for s in STRIDES]
    assert out.cls_logits.shape == (2, sum(sizes), 3)
    assert out.box_pred.shape == (2, sum(sizes), 4, 5)
    assert list(detector.grid.level_sizes) == sizes
    levels = detector.neck(detector.backbone(detector.normalise(picture(detector))))
    assert [level.shape[2] * level.shape[3] for level in levels] == sizes


def test_a_cell_of_p6_and_of_p7_answers_for_its_own_point():
    """Only one cell of one level is moved; the box that changes is the one around that cell's centre."""
    detector = build_detector(config((96, 160)), 3).eval()
    image = picture(detector)
    right = detector.head.forward
    for level, row, column, stride in ((3, 1, 2, 64), (4, 0, 1, 128)):

        def moved(levels, level=level, row=row, column=column):
            answers = [torch.zeros_like(answer) for answer in right(levels)]
            for side in range(4):
                answers[level][:, 3 + 5 * side + side, row, column] = 50.0  # left 0, top 1, right 2, bottom 3 strides
            return answers

        detector.head.forward = moved
        with torch.no_grad():
            out = detector(image)
            boxes = decode_boxes(out.box_pred, detector.grid)
        (point,) = out.box_pred[0].flatten(1).any(dim=1).nonzero().flatten().tolist()
        x, y = (column + 0.5) * stride, (row + 0.5) * stride
        assert detector.grid.points[point].tolist() == [x, y]
        assert boxes[0, point].tolist() == pytest.approx([x, y - stride, x + 2 * stride, y + 3 * stride])


def test_the_detector_by_its_parts_in_nchw():
    detector = build_detector(config(), 3).eval()
    image = picture(detector)
    levels = detector.head(detector.neck(detector.backbone(detector.normalise(image))))
    rows = torch.cat([level.flatten(2) for level in levels], dim=2)[0].T  # (N, C + 4 (R + 1))
    out = detector(image)
    torch.testing.assert_close(out.cls_logits[0], rows[:, :3])
    torch.testing.assert_close(out.box_pred[0].flatten(1), rows[:, 3:])


@pytest.mark.parametrize("kind", ["resnet18", "resnet50"])
def test_every_parameter_gets_a_gradient(kind):
    detector = build_detector(config(kind=kind, channels=48), 2).train()
    out = detector(picture(detector, 2))
    (out.cls_logits * torch.randn_like(out.cls_logits)).sum().backward(retain_graph=True)
    (out.box_pred * torch.randn_like(out.box_pred)).sum().backward()
    without = [n for n, p in detector.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(detector.head.scales.grad != 0)


def test_a_fresh_detectors_pyramid_and_head_have_their_own_weights_and_its_backbone_kaimings():
    detector = build_detector(config(channels=256), 2)
    pyramid = detector.neck.outputs[1].weight
    assert pyramid.abs().max().item() <= (6 / (2 * 256 * 9)) ** 0.5
    assert pyramid.std().item() == pytest.approx((2 / (2 * 256 * 9)) ** 0.5, rel=0.02)
    assert detector.head.box_tower[0].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert detector.backbone.layer3[1].conv2.weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


def test_scores_start_at_the_prior():
    detector = build_detector(config(), 3).eval()
    assert detector(picture(detector)).cls_logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.3)


@pytest.mark.parametrize("kind", ["resnet18", "shufflenetv2"])
@pytest.mark.parametrize("neck", ["pan", "ghost_pan", "fpn"])
@pytest.mark.parametrize("head", ["per_level", "shared"])
def test_backbones_necks_and_heads_fit_each_other(kind, neck, head):
    model = ModelConfig(
        InputSpec((64, 96)),
        backbone=BackboneConfig(kind=kind),
        neck=NeckConfig(neck, 48, extra_level=neck == "ghost_pan"),
        head=HeadConfig(1, kind=head),
    )
    with torch.device("meta"):
        detector = build_detector(model, 2).eval()
        out = detector(torch.zeros(1, 64, 96, 3, dtype=torch.uint8))
    levels = {"pan": 3, "ghost_pan": 4, "fpn": 5}[neck]
    assert len(detector.grid.level_sizes) == levels
    assert out.cls_logits.shape == (1, sum(detector.grid.level_sizes), 2)
