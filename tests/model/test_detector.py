"""The whole network: shapes, sizes, normalisation, independence, gradients."""

import itertools
import math

import pytest
import torch
from torch import nn

from nanogfl.config import BackboneConfig, HeadConfig, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.model.detector import build_detector
from nanogfl.model.heads.layout import HeadLayout
from nanogfl.model.summary import count_complexity
from tests.thinned import thinned

HW = (64, 96)
PAN = NeckConfig("pan", 16, extra_level=False)
GHOST = NeckConfig("ghost_pan", 16, extra_level=True)
GHOST_3 = NeckConfig("ghost_pan", 16, extra_level=False)


def config(neck: NeckConfig = GHOST, activation="relu", width="0.5x", **more) -> ModelConfig:
    return ModelConfig(InputSpec(HW), activation, BackboneConfig(width), neck, **more)


def picture(count: int = 1) -> torch.Tensor:
    return torch.randint(0, 256, (count, *HW, 3), dtype=torch.uint8)


@pytest.mark.parametrize(("neck", "points"), [(PAN, 126), (GHOST_3, 126), (GHOST, 128)])
@pytest.mark.parametrize("classes", [1, 5])
def test_outputs_cover_every_point_class_and_bin(neck, points, classes):
    detector = build_detector(config(neck, head=HeadConfig(reg_max=4)), classes).eval()
    out = detector(picture(2))
    assert out.cls_logits.shape == (2, points, classes)
    assert out.box_pred.shape == (2, points, 4, 5)
    assert len(detector.grid.points) == points


def test_points_and_predictions_have_the_same_order():
    """A head whose k-th level answers with each cell's own row and column must agree with the grid."""
    detector = build_detector(config(GHOST), 2).eval()

    class Coordinates(nn.Module):
        layout, dgqp = HeadLayout.of(HeadConfig(), 2), None

        def forward(self, levels):
            out = []
            for stride, level in zip((8, 16, 32, 64), levels, strict=True):
                b, _, h, w = level.shape
                answer = torch.zeros(b, 2 + 4 * 8, h, w)
                answer[:, 0] = ((torch.arange(w) + 0.5) * stride).expand(h, w)
                answer[:, 1] = ((torch.arange(h) + 0.5) * stride)[:, None].expand(h, w)
                for channel in range(32):
                    answer[:, 2 + channel] = channel
                out.append(answer)
            return out

    detector.head = Coordinates()
    out = detector(picture())
    assert torch.equal(out.cls_logits[0], detector.grid.points)
    assert out.box_pred[0, 77].tolist() == [[8 * side + i for i in range(8)] for side in range(4)]


def test_the_default_detector_of_80_classes_has_nanodet_plus_ms_parameters_and_macs():
    for side, gmacs in ((320, 0.4507), (416, 0.7621)):
        size = count_complexity(build_detector(ModelConfig(InputSpec((side, side))), 80))
        assert size.parameters == 1_197_924
        assert size.macs / 1e9 == pytest.approx(gmacs, abs=5e-5)


def test_macs_of_the_stem_are_counted_by_hand_and_the_mode_is_left_as_it_was():
    detector = build_detector(config(), 1).train()
    whole = count_complexity(detector)
    assert detector.training
    detector.backbone.conv1[0] = nn.Conv2d(3, 24, 1, 2, bias=False)  # 1 x 1 instead of 3 x 3
    stem = (HW[0] // 2) * (HW[1] // 2) * 24 * 3
    assert whole.macs - count_complexity(detector).macs == stem * (9 - 1)


def test_the_normalisation_is_inside():
    spec = InputSpec(HW, mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0))
    detector = build_detector(ModelConfig(spec, backbone=BackboneConfig("0.5x"), neck=GHOST), 3).eval()
    image = picture(2)
    by_hand = torch.zeros(2, 3, *HW)
    for channel in range(3):
        by_hand[:, channel] = (image[..., channel].float() - spec.mean[channel]) / spec.std[channel]
    with torch.no_grad():
        levels = detector.head(detector.neck(detector.backbone(by_hand)))
        out = detector(image)
    rows = torch.cat([level.permute(0, 2, 3, 1).reshape(2, -1, 3 + 32) for level in levels], dim=1)
    torch.testing.assert_close(out.cls_logits, rows[..., :3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.box_pred.flatten(2), rows[..., 3:], rtol=1e-4, atol=1e-5)


def test_the_first_layer_sees_blue_green_red_minus_mean_over_std():
    spec = InputSpec(HW)
    detector = build_detector(ModelConfig(spec, backbone=BackboneConfig("0.5x"), neck=GHOST), 1).eval()
    seen = []
    detector.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    detector(torch.tensor([255, 0, 128], dtype=torch.uint8).expand(1, *HW, 3))
    expected = [(255 - 103.53) / 57.375, (0 - 116.28) / 57.12, (128 - 123.675) / 58.395]
    assert seen[0].shape == (1, 3, *HW)
    assert seen[0][0, :, 5, 7].tolist() == pytest.approx(expected, rel=1e-6)


def test_in_eval_mode_neighbours_in_the_batch_change_nothing():
    detector = build_detector(config(), 2).eval()
    for head in detector.head.outputs:
        nn.init.normal_(head.weight)  # fresh heads hardly answer at all
    images = picture(3)
    with torch.no_grad():
        together = detector(images)
        alone = [detector(images[i : i + 1]) for i in range(3)]
    for i in range(3):
        torch.testing.assert_close(together.cls_logits[i], alone[i].cls_logits[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together.box_pred[i], alone[i].box_pred[0], rtol=1e-4, atol=1e-4)
    assert (together.cls_logits[0] - together.cls_logits[1]).abs().max() > 1e-2  # the pictures do matter


def test_all_scores_start_at_the_prior():
    scores = build_detector(config(), 4).eval()(picture()).cls_logits.sigmoid()
    assert scores.mean().item() == pytest.approx(0.01, rel=0.3)
    bias = build_detector(config(), 4).head.outputs[-1].bias
    assert bias[:4].tolist() == pytest.approx([-math.log(99)] * 4)
    assert bias[4:].tolist() == [0.0] * 32


@pytest.mark.parametrize(
    ("neck", "activation", "width"),
    thinned(
        itertools.product((PAN, GHOST), ("relu", "leaky_relu"), ("0.5x", "1.0x")),
        *((PAN, "relu", "0.5x"), (GHOST, "leaky_relu", "1.0x")),
    ),
)
def test_every_parameter_gets_a_gradient(neck, activation, width):
    detector = build_detector(config(neck, activation, width), 2).train()
    out = detector(picture(2))
    (out.cls_logits * torch.randn_like(out.cls_logits)).sum().backward(retain_graph=True)
    (out.box_pred * torch.randn_like(out.box_pred)).sum().backward()
    without = [n for n, p in detector.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters())


def test_the_activation_reaches_backbone_neck_and_head():
    detector = build_detector(config(GHOST, "leaky_relu"), 1)
    for part in (detector.backbone, detector.neck, detector.head):
        kinds = {type(m).__name__ for m in part.modules() if "ReLU" in type(m).__name__}
        assert kinds == {"LeakyReLU"}


def test_a_detector_without_classes_is_refused():
    with pytest.raises(ValueError, match="at least one class, got 0"):
        build_detector(config(), 0)


@pytest.mark.parametrize("hw", [(96, 64), (128, 96), (64, 192), (64, 64)])
def test_pictures_of_another_size_are_refused_and_not_folded_into_the_batch(hw):
    detector = build_detector(config(), 2).eval()
    with pytest.raises(ValueError, match=r"takes images of \(64, 96\)"):
        detector(torch.zeros(1, *hw, 3, dtype=torch.uint8))
