"""Checks that every batch norm sees more than one value per channel: one value has no variance."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.loss.assist import AssistBranch
from nanogfl.model.detector import build_detector
from nanogfl.training.start.freeze import FrozenParts


def require_norm_values(config: Config, class_count: int, images: int) -> None:
    """Raises UserError where a trained batch norm would see one value per channel. `images`: per batch and process.

    Two images always suffice. With one, the network is run on the meta device, which computes nothing.
    """
    if images > 1:
        return

    def look(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs[0].numel() == inputs[0].shape[1]:
            height, width = config.model.input.hw
            raise UserError(
                f"batches of one image of {height} x {width} pixels (height x width) leave a batch norm one value a"
                " channel, on a level of 1 x 1: set train.batch_size to 2 or more for each process, or a larger"
                " model.input.hw"
            )

    with torch.device("meta"), torch.no_grad():
        detector = build_detector(config.model, class_count)
        trained: list[nn.Module] = [detector]
        if config.loss.assist:
            trained.append(AssistBranch(detector, config.loss, config.model.activation))
        FrozenParts(detector, config.train.freeze).train_mode(*trained)
        for module in trained:
            for norm in module.modules():
                if isinstance(norm, _BatchNorm) and norm.training:
                    norm.register_forward_pre_hook(look)
        picture: Tensor = torch.zeros(images, *config.model.input.hw, 3, dtype=torch.uint8)
        features = detector.backbone(detector.normalise(picture))
        levels = detector.neck(features)
        detector.head(levels)
        if config.loss.assist:
            trained[1](features, levels, False)
