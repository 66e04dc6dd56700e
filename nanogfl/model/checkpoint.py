"""Checkpoints: weights with everything that is needed to use them. Reading one executes nothing in it."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nanogfl.config import Config, HeadConfig
from nanogfl.contract.detections import MOST_CLASSES
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.io.read_file import is_file
from nanogfl.model.detector import Detector, build_detector
from nanogfl.model.summary import count_complexity
from nanogfl.model.torch_file import read_weights
from nanogfl.recipe import config_from_dict

_FORMAT = "nanogfl checkpoint 1"
_FACT = str | int | float | None
_KEYS = {"config", "classes", "category_ids", "weights", "facts", "training"}


@dataclass(frozen=True)
class Checkpoint:
    """The content of a .pt file of ours."""

    config: Config
    classes: tuple[str, ...]
    """C names; a label is an index into them"""
    category_ids: tuple[int, ...]
    """C ids of the data set's categories"""
    weights: dict[str, Tensor]
    """the averaged weights, which are evaluated and exported"""
    facts: dict[str, Any] = field(default_factory=dict)
    """epoch, AP and the like, for people"""
    training: dict[str, Any] | None = None
    """the state of the training, which resuming needs; None in all files but last.pt"""

    def build(self) -> Detector:
        """Builds the detector in eval mode on the CPU.

        Raises UserError where the weights do not fit the config or are not all finite.
        """
        detector = build_detector(self.config.model, len(self.classes))
        try:
            detector.load_state_dict(self.weights)
        except RuntimeError as error:
            raise UserError(
                f"the checkpoint's weights do not fit its config: {str(error).splitlines()[-1].strip()}"
            ) from None
        for name, value in detector.state_dict().items():
            if not torch.isfinite(value).all():
                raise UserError(
                    f"the checkpoint's weights are not all finite numbers ({name}), so that nothing can be computed"
                    " with them: take an earlier one"
                )
        return detector.eval()


def weights_digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 (64 hex digits) over names and values: equal for runs with equal results, whatever the file says about
    times and paths."""
    sha = hashlib.sha256()
    for name, value in sorted(weights.items()):
        sha.update(name.encode())
        sha.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())  # numpy has no bfloat16
    return sha.hexdigest()


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, keep_as: Path | None = None) -> None:
    """Writes `path` atomically: a temporary file, synced, then renamed. A file that was there is renamed to `keep_as`.

    Raises UserError where the file cannot be written.
    """
    content = {
        "format": _FORMAT,
        "config": checkpoint.config.to_dict(),
        "classes": list(checkpoint.classes),
        "category_ids": list(checkpoint.category_ids),
        "weights": checkpoint.weights,
        "facts": checkpoint.facts,
        "training": checkpoint.training,
    }
    with atomic_path(path, keep_as=keep_as) as temporary, temporary.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch wraps the error of the file
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Reads a checkpoint onto the CPU. Raises UserError for a missing file and for anything but our checkpoint."""
    path = Path(path)
    if not is_file(path):
        raise UserError(f"checkpoint {path} does not exist: expected a .pt file that `nanogfl train` wrote")
    content = read_weights(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT or not content.keys() >= _KEYS:
        raise UserError(
            f"{path} is not a nanogfl checkpoint (or it is truncated or damaged): expected a .pt that `nanogfl train`"
            " wrote"
        )
    if wrong := _wrong_part(content):
        raise UserError(f"{path} is a nanogfl checkpoint whose {wrong}: expected a .pt that `nanogfl train` wrote")
    return Checkpoint(
        config_from_dict(content["config"], str(path)),
        tuple(content["classes"]),
        tuple(content["category_ids"]),
        content["weights"],
        content["facts"],
        content["training"],
    )


def _wrong_part(content: dict[str, Any]) -> str | None:
    """What differs from what `save_checkpoint` writes; the config has checks of its own."""
    classes, ids = content["classes"], content["category_ids"]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        return "classes are not a list of names"
    if not 0 < len(classes) <= MOST_CLASSES:
        return f"classes are {len(classes):,}, not 1 to {MOST_CLASSES:,}"
    if not isinstance(ids, list) or len(ids) != len(classes) or not all(type(number) is int for number in ids):
        return "category_ids are not one whole number per class"
    weights = content["weights"]
    if not isinstance(weights, dict) or not all(map(_is_weight, weights.items())):
        return "weights are not tensors by name"
    facts = content["facts"]
    if not isinstance(facts, dict) or not all(isinstance(value, _FACT) for item in facts.items() for value in item):
        return "facts are not plain values by name"
    if not isinstance(content["training"], dict | None):
        return "training is not a state"
    return None


def _is_weight(item: tuple[Any, Any]) -> bool:
    name, value = item
    plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return isinstance(name, str) and plain and not (value.is_complex() or value.is_quantized)


def describe_checkpoint(path: Path | str) -> list[tuple[str, str]]:
    """(name, value) lines for `nanogfl info`. Raises UserError as `load_checkpoint` and `Checkpoint.build`."""
    checkpoint = load_checkpoint(path)
    model, head = checkpoint.config.model, checkpoint.config.model.head
    height, width = model.input.hw
    lines = [
        ("kind", "nanogfl checkpoint"),
        ("classes", f"{len(checkpoint.classes)}: {', '.join(checkpoint.classes)}"),
        ("input", f"{height} x {width} (height x width), {model.input.resize}, BGR"),
        ("backbone", f"{model.backbone.title}, {model.activation}"),
        ("neck", f"{model.neck.kind}, {model.neck.channels} channels"),
        ("head", f"{head.kind}, box {head.box}, quality {head.quality}{' through DGQP' * head.dgqp}"),
        ("spread", _spread(head)),
        ("size", str(count_complexity(checkpoint.build()))),
        ("weights", f"sha256 {weights_digest(checkpoint.weights)}"),
    ]
    if start := checkpoint.config.train.init_from or model.backbone.weights:
        lines.append(("started from", start))
    if teacher := checkpoint.config.train.teacher:
        lines.append(("teacher", teacher))
    lines += [(name, str(value)) for name, value in checkpoint.facts.items()]
    if checkpoint.training is not None:
        lines.append(("resume", "has the state of its training: `nanogfl train --resume` continues it"))
    return lines


def _spread(head: HeadConfig) -> str:
    if head.bins:
        apart = f"{head.bin_width:g} stride{'s' * (head.bin_width != 1)} apart"
        return f"of each side, from its distribution over bins 0 to {head.reg_max}, {apart}"
    return "of each side, predicted as a number" if head.has_spread else f"none: the boxes are {head.box}"
