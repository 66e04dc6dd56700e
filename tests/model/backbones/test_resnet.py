"""ResNet: torchvision's names and parameter counts, and the arithmetic once more by functional calls."""

import pytest
import torch
from torch.nn import functional as F

from nanogfl.config import BackboneConfig
from nanogfl.model.backbones.resnet import ResNet

KINDS = ("resnet18", "resnet34", "resnet50", "resnet101")
BLOCKS = {"resnet18": [2, 2, 2, 2], "resnet34": [3, 4, 6, 3], "resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3]}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def resnet(kind: str, activation="relu") -> ResNet:
    return ResNet(BackboneConfig(kind=kind), activation)


def shaped(kind: str) -> ResNet:
    with torch.device("meta"):  # names and shapes only
        return resnet(kind)


def torchvisions_names(kind: str) -> set[str]:
    """Written out as torchvision's state dicts have them, without fc."""
    convolutions = 2 if kind in ("resnet18", "resnet34") else 3
    names = {"conv1.weight"} | {f"bn1.{part}" for part in NORM}
    for stage, blocks in enumerate(BLOCKS[kind], start=1):
        for block in range(blocks):
            for number in range(1, convolutions + 1):
                names.add(f"layer{stage}.{block}.conv{number}.weight")
                names |= {f"layer{stage}.{block}.bn{number}.{part}" for part in NORM}
        if stage > 1 or convolutions == 3:  # stage 1 of the small ones keeps 64 channels and the size
            names.add(f"layer{stage}.0.downsample.0.weight")
            names |= {f"layer{stage}.0.downsample.1.{part}" for part in NORM}
    return names


@pytest.mark.parametrize(("kind", "tensors"), [("resnet18", 120), ("resnet34", 216), ("resnet50", 318)])
def test_every_name_is_torchvisions(kind, tensors):
    """torchvision's files have 122, 218 and 320 tensors, two of them fc's."""
    names = set(shaped(kind).state_dict())
    assert names == torchvisions_names(kind)
    assert len(names) == tensors


def test_resnet_101s_names():
    assert set(shaped("resnet101").state_dict()) == torchvisions_names("resnet101")


@pytest.mark.parametrize(
    ("kind", "published", "features"),
    [("resnet18", 11_689_512, 512), ("resnet34", 21_797_672, 512), ("resnet50", 25_557_032, 2048),
     ("resnet101", 44_549_160, 2048)],
)  # fmt: skip
def test_parameters_are_the_published_ones_without_the_classifier(kind, published, features):
    found = sum(p.numel() for p in shaped(kind).parameters())
    assert found == published - (features * 1000 + 1000)


@pytest.mark.parametrize(
    ("kind", "name", "shape"),
    [
        ("resnet18", "conv1.weight", (64, 3, 7, 7)),
        ("resnet18", "layer2.0.conv1.weight", (128, 64, 3, 3)),
        ("resnet34", "layer3.5.conv2.weight", (256, 256, 3, 3)),
        ("resnet50", "layer1.0.downsample.0.weight", (256, 64, 1, 1)),
        ("resnet50", "layer2.0.conv1.weight", (128, 256, 1, 1)),
        ("resnet101", "layer3.22.conv3.weight", (1024, 256, 1, 1)),
        ("resnet101", "layer4.0.downsample.0.weight", (2048, 1024, 1, 1)),
    ],
)
def test_shapes_written_by_hand(kind, name, shape):
    assert tuple(shaped(kind).state_dict()[name].shape) == shape


def by_functional_calls(state: dict[str, torch.Tensor], x: torch.Tensor, kind: str) -> list[torch.Tensor]:
    """The published network from nothing but its tensors: v1.5, so the 3x3 convolutions have the strides."""

    def norm(name: str, y: torch.Tensor) -> torch.Tensor:
        mean, var, scale, shift = (
            state[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (y - mean) / torch.sqrt(var + 1e-5) * scale + shift

    y = F.conv2d(x, state["conv1.weight"], stride=2, padding=3)
    y = F.max_pool2d(norm("bn1", y).clamp(min=0), 3, 2, 1)
    features = []
    for stage, blocks in enumerate(BLOCKS[kind], start=1):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            if kind in ("resnet18", "resnet34"):
                out = F.conv2d(y, state[f"{at}.conv1.weight"], stride=stride, padding=1)
                out = F.conv2d(norm(f"{at}.bn1", out).clamp(min=0), state[f"{at}.conv2.weight"], padding=1)
                out = norm(f"{at}.bn2", out)
            else:
                out = norm(f"{at}.bn1", F.conv2d(y, state[f"{at}.conv1.weight"])).clamp(min=0)
                out = F.conv2d(out, state[f"{at}.conv2.weight"], stride=stride, padding=1)
                out = norm(f"{at}.bn3", F.conv2d(norm(f"{at}.bn2", out).clamp(min=0), state[f"{at}.conv3.weight"]))
            if f"{at}.downsample.0.weight" in state:
                y = norm(f"{at}.downsample.1", F.conv2d(y, state[f"{at}.downsample.0.weight"], stride=stride))
            y = (out + y).clamp(min=0)
        features.append(y)
    return features[1:]


@pytest.mark.parametrize(("kind", "channels"), [("resnet18", (128, 256, 512)), ("resnet50", (512, 1024, 2048))])
def test_features_of_strides_8_16_32_by_a_second_implementation(kind, channels):
    backbone = resnet(kind).double().eval()
    for name, value in backbone.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif name.endswith("running_mean") or (".bn" in name and name.endswith("bias")):
            value.normal_(std=0.1)
    x = torch.randn(2, 3, 96, 160, dtype=torch.float64)
    with torch.no_grad():
        found, expected = backbone(x), by_functional_calls(backbone.state_dict(), x, kind)
    assert backbone.channels == channels
    shapes = [(2, c, 96 // s, 160 // s) for c, s in zip(channels, (8, 16, 32), strict=True)]
    assert [tuple(feature.shape) for feature in found] == shapes
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_the_activation_is_everywhere():
    kinds = {type(module).__name__ for module in resnet("resnet18", "leaky_relu").modules()}
    assert "LeakyReLU" in kinds
    assert "ReLU" not in kinds
