"""A backbone's published weights: state dicts with torchvision's ShuffleNetV2 names."""

from typing import get_args, get_type_hints

import torch
from torch import Tensor

from nanogfl.config import BackboneConfig
from nanogfl.contract.errors import UserError
from nanogfl.model.checkpoint import NOT_A_CHECKPOINT
from nanogfl.model.shufflenetv2 import ShuffleNetV2
from nanogfl.train.download import fetch

KEY = "model.backbone.weights"
_IGNORED = ("conv5.", "fc.")  # torchvision's classifier
_FIRST = "conv1.0.weight"
_COUNTER = ".num_batches_tracked"  # files of old versions lack it; nothing here uses it


def read_trunk(config: BackboneConfig) -> tuple[dict[str, Tensor], list[str]]:
    """The backbone's state dict, wholly checked, and what to tell people. Raises UserError."""
    assert config.weights is not None
    fetched = fetch(KEY, config.weights, config.weights_sha256)
    try:
        content = torch.load(fetched.path, map_location="cpu", weights_only=True)
    except NOT_A_CHECKPOINT:
        content = None
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(
            f"{KEY} {fetched.path} is not a plain state dict (or it is truncated): expected a .pth of tensors with"
            f" torchvision's ShuffleNetV2 names, such as {_FIRST}"
        )
    trunk = {str(name): tensor for name, tensor in content.items() if not str(name).startswith(_IGNORED)}
    _require_fit(str(fetched.path), trunk, config)

    ignored = [str(name) for name in content if str(name).startswith(_IGNORED)]
    lines = [f"start: backbone from {fetched.how}: {len(trunk)} tensors"]
    if ignored:
        lines.append(f"  ignored, the detector has no classifier: {', '.join(ignored)}")
    match config.weights_order:
        case "rgb":
            trunk[_FIRST] = trunk[_FIRST].flip(1)
            lines.append("  the first convolution's channels are flipped: the file expects RGB, the detector sees BGR")
        case "bgr":
            if ignored:
                lines.append(
                    "  used as BGR; torchvision's own ImageNet files expect RGB: --set model.backbone.weights_order=rgb"
                )
    return trunk, lines


def load_trunk(backbone: ShuffleNetV2, trunk: dict[str, Tensor]) -> None:
    counters = {name: value for name, value in backbone.state_dict().items() if name.endswith(_COUNTER)}
    backbone.load_state_dict({**counters, **trunk})


def _require_fit(path: str, trunk: dict[str, Tensor], config: BackboneConfig) -> None:
    problems = _misfits(trunk, config)
    if not problems:
        return
    for width in get_args(get_type_hints(BackboneConfig)["width"]):
        if not _misfits(trunk, BackboneConfig(width)):
            raise UserError(
                f"{KEY} {path} holds a ShuffleNetV2 {width}, but model.backbone.width is {config.width}:"
                f" set it to {width}, or take a file of {config.width}"
            )
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise UserError(
        f"{KEY} {path} does not fit ShuffleNetV2 {config.width} with torchvision's names: {problems[0]}{more}"
    )


def _misfits(trunk: dict[str, Tensor], config: BackboneConfig) -> list[str]:
    with torch.device("meta"):  # names and shapes only
        wanted = ShuffleNetV2(config, "relu").state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in trunk and not name.endswith(_COUNTER)]
    for name, tensor in trunk.items():
        if name not in wanted:
            problems.append(f"{name} has no place in it")
        elif tensor.shape != wanted[name].shape:
            problems.append(f"{name} is {tuple(tensor.shape)}, expected {tuple(wanted[name].shape)}")
    return problems
