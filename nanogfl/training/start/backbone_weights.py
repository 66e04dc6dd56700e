"""Published backbone weights: state dicts with torchvision's names."""

from typing import get_args, get_type_hints

import torch
from torch import Tensor

from nanogfl.config import BackboneConfig
from nanogfl.errors import UserError
from nanogfl.model.backbones.build import Backbone, build_backbone
from nanogfl.model.torch_file import read_weights
from nanogfl.training.start.download import fetch

KEY = "model.backbone.weights"
_IGNORED = ("conv5.", "fc.")  # torchvision's classifier
_COUNTER = ".num_batches_tracked"  # missing in old files; unused here


def read_trunk(config: BackboneConfig) -> tuple[dict[str, Tensor], list[str]]:
    """The backbone's state dict, fully checked, and lines for people. Raises UserError for a file that does not fit."""
    assert config.weights is not None
    first = _shapes_of(config).first_kernel
    fetched = fetch(KEY, config.weights, config.weights_sha256)
    content = read_weights(fetched.path, old_format=True)
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise fetched.refusal(
            f"{KEY} {fetched.path} is not a plain state dict (or it is truncated): expected a .pth of tensors with"
            f" torchvision's {config.title.split()[0]} names, such as {first}"
        )
    trunk = {str(name): tensor for name, tensor in content.items() if not str(name).startswith(_IGNORED)}
    _require_fit(str(fetched.path), trunk, config)

    ignored = [str(name) for name in content if str(name).startswith(_IGNORED)]
    lines = [f"start: backbone from {fetched.how}: {len(trunk)} tensors"]
    if ignored:
        lines.append(f"  ignored, the detector has no classifier: {', '.join(ignored)}")
    match config.weights_order:
        case "rgb":
            trunk[first] = trunk[first].flip(1)
            lines.append("  the first convolution's channels are flipped: the file expects RGB, the detector sees BGR")
        case "bgr":
            if ignored:
                lines.append(
                    "  used as BGR; torchvision's own ImageNet files expect RGB: --set model.backbone.weights_order=rgb"
                )
    return trunk, lines


def load_trunk(backbone: Backbone, trunk: dict[str, Tensor]) -> None:
    counters = {name: value for name, value in backbone.state_dict().items() if name.endswith(_COUNTER)}
    backbone.load_state_dict({**counters, **trunk})


def _require_fit(path: str, trunk: dict[str, Tensor], config: BackboneConfig) -> None:
    problems = _misfits(trunk, config)
    if not problems:
        return
    for other in _all_kinds():
        if not _misfits(trunk, other):
            key = "width" if config.kind == other.kind else "kind"
            ours, theirs = getattr(config, key), getattr(other, key)
            raise UserError(
                f"{KEY} {path} holds a {other.title}, but model.backbone.{key} is {ours}:"
                f" set it to {theirs}, or take a file of {config.title if key == 'kind' else ours}"
            )
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise UserError(f"{KEY} {path} does not fit {config.title} with torchvision's names: {problems[0]}{more}")


def _all_kinds() -> list[BackboneConfig]:
    choices = get_type_hints(BackboneConfig)
    widths = [BackboneConfig(width) for width in get_args(choices["width"])]
    kinds = [BackboneConfig(kind=kind) for kind in get_args(choices["kind"])]
    return widths + [config for config in kinds if config.kind != "shufflenetv2"]


def _shapes_of(config: BackboneConfig) -> Backbone:
    """A backbone on the meta device: names and shapes only."""
    with torch.device("meta"):
        return build_backbone(config, "relu")


def _misfits(trunk: dict[str, Tensor], config: BackboneConfig) -> list[str]:
    wanted = _shapes_of(config).state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in trunk and not name.endswith(_COUNTER)]
    for name, tensor in trunk.items():
        if name not in wanted:
            problems.append(f"{name} has no place in it")
        elif tensor.shape != wanted[name].shape:
            problems.append(f"{name} is {tuple(tensor.shape)}, expected {tuple(wanted[name].shape)}")
    return problems
