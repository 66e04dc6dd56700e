"""The backbone: torchvision's names, the paper's shapes, the shuffle."""

import pytest
import torch

from nanogfl.config import BackboneConfig
from nanogfl.model.backbones.shufflenetv2 import ShuffleNetV2, ShuffleUnit
from tests.shared_data import shared


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


@pytest.mark.parametrize(
    ("width", "file"), [("1.0x", "shufflenetv2_x1.0_trunk_coco.pth"), ("0.5x", "shufflenetv2_x0.5_trunk.pth")]
)
def test_every_name_and_shape_is_torchvisions(width, file):
    path = shared(f"weights/{file}")
    published = torch.load(path, map_location="cpu", weights_only=True)
    assert shapes(ShuffleNetV2(BackboneConfig(width), "relu").state_dict()) == shapes(published)


@pytest.mark.parametrize(
    ("width", "c2", "c3", "c4"), [("0.5x", 48, 96, 192), ("1.0x", 116, 232, 464), ("1.5x", 176, 352, 704)]
)
def test_names_and_shapes_written_by_hand(width, c2, c3, c4):
    found = shapes(ShuffleNetV2(BackboneConfig(width), "relu").state_dict())
    expected = {
        "conv1.0.weight": (24, 3, 3, 3),
        "conv1.1.running_var": (24,),
        "conv1.1.num_batches_tracked": (),
        "stage2.0.branch1.0.weight": (24, 1, 3, 3),
        "stage2.0.branch1.2.weight": (c2 // 2, 24, 1, 1),
        "stage2.0.branch2.0.weight": (c2 // 2, 24, 1, 1),
        "stage2.3.branch2.3.weight": (c2 // 2, 1, 3, 3),
        "stage3.0.branch1.2.weight": (c3 // 2, c2, 1, 1),
        "stage3.7.branch2.5.weight": (c3 // 2, c3 // 2, 1, 1),
        "stage3.7.branch2.6.bias": (c3 // 2,),
        "stage4.0.branch2.0.weight": (c4 // 2, c3, 1, 1),
        "stage4.3.branch2.7.weight": None,  # an activation has no weights
    }
    for name, shape in expected.items():
        assert found.get(name) == shape, name
    assert "stage2.1.branch1.0.weight" not in found  # a unit of stride 1 passes its first half by
    assert "stage2.4.branch2.0.weight" not in found
    assert "stage3.8.branch2.0.weight" not in found
    assert not [name for name in found if name.startswith(("conv5", "fc"))]


@pytest.mark.parametrize(
    ("width", "channels"), [("0.5x", (48, 96, 192)), ("1.0x", (116, 232, 464)), ("1.5x", (176, 352, 704))]
)
def test_features_have_strides_8_16_32_on_an_image_that_is_not_square(width, channels):
    features = ShuffleNetV2(BackboneConfig(width), "relu").eval()(torch.rand(2, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [
        (2, channels[0], 8, 12),
        (2, channels[1], 4, 6),
        (2, channels[2], 2, 3),
    ]


def test_a_unit_of_stride_1_interleaves_the_untouched_half_with_the_convolved_one():
    unit = ShuffleUnit(6, 6, 1, "relu").eval()
    x = torch.rand(2, 6, 3, 5)
    with torch.no_grad():
        out, convolved = unit(x), unit.branch2(x[:, 3:])
    for channel in range(3):  # brute force: shuffle of two groups
        assert torch.equal(out[:, 2 * channel], x[:, channel])
        assert torch.equal(out[:, 2 * channel + 1], convolved[:, channel])


def test_a_unit_of_stride_2_shuffles_as_the_papers_reshape_and_transpose_do():
    unit = ShuffleUnit(4, 6, 2, "leaky_relu").eval()
    x = torch.rand(1, 4, 4, 6)
    with torch.no_grad():
        out = unit(x)
        joined = torch.cat((unit.branch1(x), unit.branch2(x)), dim=1)
    b, c, h, w = joined.shape
    expected = joined.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)  # sec. 3.1 of arXiv:1807.11164
    assert torch.equal(out, expected)


def test_leaky_relu_has_slope_a_tenth_and_is_everywhere():
    leaky = ShuffleNetV2(BackboneConfig("0.5x"), "leaky_relu")
    kinds = {type(m).__name__ for m in leaky.modules() if "ReLU" in type(m).__name__}
    assert kinds == {"LeakyReLU"}
    assert leaky.conv1[2](torch.tensor([-3.0, 2.0])).tolist() == pytest.approx([-0.3, 2.0])
