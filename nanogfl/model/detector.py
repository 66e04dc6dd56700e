"""The detector: uint8 pictures in, class logits and distributions of all grid points out."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nanogfl.config import ModelConfig
from nanogfl.model.backbone import Backbone, build_backbone
from nanogfl.model.decode import Grid, make_grid
from nanogfl.model.fpn import Fpn
from nanogfl.model.gfl_head import GflHead
from nanogfl.model.ghost_pan import GhostPan
from nanogfl.model.pan import Pan
from nanogfl.model.shared_head import SharedHead

Neck = Pan | GhostPan | Fpn
Head = GflHead | SharedHead


class Predictions(NamedTuple):
    cls_logits: Tensor
    """(B, N, C)"""
    dist_logits: Tensor
    """(B, N, 4, R + 1): left, top, right, bottom"""


class Detector(nn.Module):
    """uint8 (B, H, W, 3) BGR -> Predictions. The normalisation is inside; the grid belongs to the input size."""

    mean: Tensor
    std: Tensor
    grid_points: Tensor
    grid_strides: Tensor

    def __init__(self, config: ModelConfig, class_count: int, backbone: Backbone, neck: Neck, head: Head) -> None:
        super().__init__()
        self.hw = config.input.hw
        self.class_count = class_count
        self.backbone, self.neck, self.head = backbone, neck, head
        self.register_buffer("mean", torch.tensor(config.input.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(config.input.std).view(1, 3, 1, 1))
        grid = make_grid(self.hw, neck.strides, config.head.point_offset)
        self.register_buffer("grid_points", grid.points, persistent=False)
        self.register_buffer("grid_strides", grid.strides, persistent=False)
        self._level_sizes = grid.level_sizes

    @property
    def grid(self) -> Grid:
        return Grid(self.grid_points, self.grid_strides, self._level_sizes)

    def forward(self, image: Tensor) -> Predictions:
        return self.read(self.head(self.neck(self.backbone(self.normalise(image)))))

    # A training step that also needs the features in between composes these itself.

    def normalise(self, image: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) BGR -> float32 (B, 3, H, W)."""
        if tuple(image.shape[1:3]) != tuple(self.hw):  # else another size would be folded into the batch below
            raise ValueError(f"the detector takes pictures of {self.hw} (height, width), got {tuple(image.shape[1:3])}")
        # A permuted NHWC picture is channels_last already: no copy.
        return (image.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def read(self, levels: list[Tensor]) -> Predictions:
        """The head's levels (B, C + 4 (R + 1), h, w) -> predictions in the grid's order."""
        return read_levels(levels, self._level_sizes, self.class_count)


def read_levels(levels: list[Tensor], level_sizes: tuple[int, ...], class_count: int) -> Predictions:
    """Levels (B, C + 4 (R + 1), h, w) of h * w = level_sizes points -> predictions level after level, row by row."""
    channels = levels[0].shape[1]
    flat = torch.cat([x.reshape(-1, channels, size) for x, size in zip(levels, level_sizes, strict=True)], dim=2)
    logits, distributions = torch.split(flat.transpose(1, 2), [class_count, channels - class_count], dim=2)
    bins = (channels - class_count) // 4
    return Predictions(logits, distributions.reshape(-1, flat.shape[2], 4, bins))


def build_detector(config: ModelConfig, class_count: int) -> Detector:
    """A detector with fresh weights (torch's random state decides them)."""
    if class_count < 1:
        raise ValueError(f"a detector needs at least one class, got {class_count}")
    backbone = build_backbone(config.backbone, config.activation)
    neck: Neck
    match config.neck.kind:
        case "pan":
            neck = Pan(config.neck, backbone.channels)
        case "ghost_pan":
            neck = GhostPan(config.neck, backbone.channels, config.activation)
        case "fpn":
            neck = Fpn(config.neck, backbone.channels)
    rectified = [backbone] if isinstance(neck, Fpn) else [backbone, neck]  # Fpn has weights of its own kind
    for module in (module for part in rectified for module in part.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return Detector(config, class_count, backbone, neck, _build_head(config, len(neck.strides), class_count))


def _build_head(config: ModelConfig, levels: int, class_count: int) -> Head:
    head, channels = config.head, config.neck.channels
    match head.kind:
        case "per_level":
            return GflHead(head, channels, levels, class_count, config.activation)
        case "shared":
            return SharedHead(
                inputs=channels,
                channels=channels,
                convs=head.convs,
                levels=levels,
                class_count=class_count,
                sides=4 * (head.reg_max + 1),
                activation=config.activation,
                prior=head.prior,
            )
