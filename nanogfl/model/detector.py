"""The detector: uint8 images in, class logits and boxes of all grid points out."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nanogfl.config import HeadConfig, ModelConfig
from nanogfl.model.backbones.build import Backbone, build_backbone
from nanogfl.model.boxes.anchors import make_anchors
from nanogfl.model.boxes.decode import Grid, make_grid
from nanogfl.model.heads.dgqp import Dgqp, build_dgqp, joint_logits
from nanogfl.model.heads.layout import HeadLayout
from nanogfl.model.heads.per_level import GflHead
from nanogfl.model.heads.shared import SharedHead
from nanogfl.model.necks.fpn import Fpn
from nanogfl.model.necks.ghost_pan import GhostPan
from nanogfl.model.necks.pan import Pan
from nanogfl.model.necks.sum_pan import SumPan

Neck = Pan | GhostPan | SumPan | Fpn
Head = GflHead | SharedHead


class Predictions(NamedTuple):
    """The raw output for all N grid points."""

    cls_logits: Tensor
    """(B, N, C)"""
    box_pred: Tensor
    """(B, N, 4, P): left, top, right, bottom (or dx dy dw dh), P numbers each; R + 1 logits for distributions"""
    quality_logits: Tensor | None = None
    """(B, N), logits of a quality that multiplies the scores; None where the head predicts none"""


def scored(predictions: Predictions, head: HeadConfig) -> Predictions:
    """The predictions as losses and assigners see them: with DGQP the class logits (B, N, C) are those of the score J
    (model/heads/dgqp.py)."""
    if not head.dgqp:
        return predictions
    assert predictions.quality_logits is not None
    return predictions._replace(cls_logits=joint_logits(predictions.cls_logits, predictions.quality_logits))


class Detector(nn.Module):
    """Backbone, neck and head with the normalisation in front. It takes one input size, to which its grid belongs."""

    mean: Tensor
    std: Tensor
    grid_points: Tensor
    grid_strides: Tensor
    grid_anchors: Tensor | None

    def __init__(self, config: ModelConfig, class_count: int, backbone: Backbone, neck: Neck, head: Head) -> None:
        super().__init__()
        self.hw, self._head_config = config.input.hw, config.head
        self.class_count = class_count
        self.backbone, self.neck, self.head = backbone, neck, head
        self.register_buffer("mean", torch.tensor(config.input.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(config.input.std).view(1, 3, 1, 1))
        grid = _make_grid(config, neck.strides)
        self.register_buffer("grid_points", grid.points, persistent=False)
        self.register_buffer("grid_strides", grid.strides, persistent=False)
        self.register_buffer("grid_anchors", grid.anchors, persistent=False)
        self._level_sizes = grid.level_sizes

    @property
    def grid(self) -> Grid:
        """The N points that the predictions belong to, on the detector's device."""
        return Grid(self.grid_points, self.grid_strides, self._level_sizes, self._head_config, self.grid_anchors)

    def forward(self, image: Tensor) -> Predictions:
        """uint8 (B, H, W, 3) BGR -> predictions for N points. Raises ValueError for another size."""
        return self.read(self.head(self.neck(self.backbone(self.normalise(image)))))

    # A training step also needs the features in between and calls these itself.

    def normalise(self, image: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) BGR -> float32 (B, 3, H, W). Raises ValueError for another size."""
        if tuple(image.shape[1:3]) != tuple(self.hw):  # another size would end up in the batch dimension
            raise ValueError(f"the detector takes images of {self.hw} (height, width), got {tuple(image.shape[1:3])}")
        # A permuted NHWC image is channels_last: no copy.
        return (image.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def read(self, levels: list[Tensor]) -> Predictions:
        """The head's output, (B, rows, h, w) per level -> predictions (B, N, ...) in the order of the grid."""
        return read_levels(levels, self._level_sizes, self.head.layout, self.head.dgqp)


def read_levels(
    levels: list[Tensor], level_sizes: tuple[int, ...], layout: HeadLayout, dgqp: Dgqp | None = None
) -> Predictions:
    """A head's output, (B, rows, h, w) per level -> predictions (B, N, ...): level by level, row by row, anchor by
    anchor; `level_sizes` add up to N."""
    places = [size // layout.anchors for size in level_sizes]
    flat = torch.cat([x.reshape(-1, layout.rows, size) for x, size in zip(levels, places, strict=True)], dim=2)
    logits, boxes, *quality = torch.split(flat.transpose(1, 2), layout.split, dim=2)
    count = sum(level_sizes)
    if layout.anchors > 1:
        logits = logits.reshape(-1, count, layout.classes)
    box_pred = boxes.reshape(-1, count, 4, layout.side_values)
    if dgqp is not None:
        return Predictions(logits, box_pred, dgqp(box_pred))
    return Predictions(logits, box_pred, quality[0].reshape(-1, count) if quality else None)


def _make_grid(config: ModelConfig, strides: tuple[int, ...]) -> Grid:
    hw, head = config.input.hw, config.head
    if head.box == "deltas":
        anchors = make_anchors(hw, strides, head.point_offset, head.anchor_size)
        return Grid(anchors.points, anchors.strides, anchors.level_sizes, head, anchors.sizes)
    return make_grid(hw, strides, head.point_offset)._replace(head=head)


def build_detector(config: ModelConfig, class_count: int) -> Detector:
    """A detector with fresh weights, drawn from torch's random state. Raises ValueError for less than one class."""
    if class_count < 1:
        raise ValueError(f"a detector needs at least one class, got {class_count}")
    backbone = build_backbone(config.backbone, config.activation)
    neck: Neck
    match config.neck.kind:
        case "pan":
            neck = Pan(config.neck, backbone.channels)
        case "ghost_pan":
            neck = GhostPan(config.neck, backbone.channels, config.activation)
        case "sum_pan":
            neck = SumPan(config.neck, backbone.channels, config.activation)
        case "fpn":
            neck = Fpn(config.neck, backbone.channels)
    rectified = [backbone] if isinstance(neck, Fpn) else [backbone, neck]  # Fpn initialises itself
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
                HeadLayout.of(head, class_count),
                inputs=channels,
                channels=channels,
                convs=head.convs,
                levels=levels,
                activation=config.activation,
                norm=head.norm,
                prior=head.prior,
                dgqp=build_dgqp(head),
            )
