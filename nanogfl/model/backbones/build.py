"""Builds the backbone that a configuration names."""

from nanogfl.config import Activation, BackboneConfig
from nanogfl.model.backbones.resnet import ResNet
from nanogfl.model.backbones.shufflenetv2 import ShuffleNetV2
from nanogfl.model.backbones.sumnet import SumNet

Backbone = ShuffleNetV2 | SumNet | ResNet


def build_backbone(config: BackboneConfig, activation: Activation) -> Backbone:
    """A backbone with fresh weights."""
    if config.kind == "shufflenetv2":
        return ShuffleNetV2(config, activation)
    if config.kind == "sumnet":
        return SumNet(config, activation)
    return ResNet(config, activation)
