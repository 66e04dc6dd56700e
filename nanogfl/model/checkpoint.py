"""Checkpoints: weights with everything needed to use them, read without executing anything in them."""

import hashlib
import pickle
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nanogfl.config import Config, HeadConfig
from nanogfl.contract.atomic import atomic_path
from nanogfl.contract.errors import UserError
from nanogfl.model.complexity import count_complexity
from nanogfl.model.detector import Detector, build_detector
from nanogfl.recipe import config_from_dict

_FORMAT = "nanogfl checkpoint 1"
_KEYS = {"config", "classes", "category_ids", "weights", "facts", "training"}

# What torch.load has raised on text files, damaged and truncated ones (found by feeding it some hundreds).
NOT_A_CHECKPOINT = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


@dataclass(frozen=True)
class Checkpoint:
    config: Config
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    weights: dict[str, Tensor]
    """the averaged weights: those that are evaluated and exported"""
    facts: dict[str, Any] = field(default_factory=dict)
    """epoch, AP and the like, for people"""
    training: dict[str, Any] | None = None
    """what resuming needs (last.pt), else None"""

    def build(self) -> Detector:
        """The detector in eval mode on the CPU. Raises UserError where the weights do not fit the config."""
        detector = build_detector(self.config.model, len(self.classes))
        try:
            detector.load_state_dict(self.weights)
        except RuntimeError as error:
            raise UserError(
                f"the checkpoint's weights do not fit its config: {str(error).splitlines()[-1].strip()}"
            ) from None
        return detector.eval()


def weights_digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 (64 hex digits) over the names and values: equal for runs that ended alike, whatever the file says of
    times and paths."""
    sha = hashlib.sha256()
    for name, value in sorted(weights.items()):
        sha.update(name.encode())
        sha.update(value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, keep_as: Path | None = None) -> None:
    """Atomically: a temporary file, synced, then renamed. `keep_as`: the new name of the file that was there before."""
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
        except RuntimeError as error:  # torch's own, for whatever went wrong with the file
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Tensors land on the CPU. Raises UserError for a missing file and for anything that is not our checkpoint."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist: expected a .pt file that `nanogfl train` wrote")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself reads over a wrong checksum
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except NOT_A_CHECKPOINT:
        content = None
    if not isinstance(content, dict) or content.get("format") != _FORMAT or not content.keys() >= _KEYS:
        raise UserError(
            f"{path} is not a nanogfl checkpoint (or it is truncated or damaged): expected a .pt that `nanogfl train`"
            " wrote"
        )
    return Checkpoint(
        config_from_dict(content["config"], str(path)),
        tuple(content["classes"]),
        tuple(content["category_ids"]),
        content["weights"],
        content["facts"],
        content["training"],
    )


def describe_checkpoint(path: Path | str) -> list[tuple[str, str]]:
    """(name, value) lines for `nanogfl info`."""
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
    lines += [(name, str(value)) for name, value in checkpoint.facts.items()]
    if checkpoint.training is not None:
        lines.append(("resume", "holds the state of training: `nanogfl train --resume` goes on from it"))
    return lines


def _spread(head: HeadConfig) -> str:
    """What a box says of how sure its sides are, for people."""
    if head.bins:
        apart = f"{head.bin_width:g} stride{'s' * (head.bin_width != 1)} apart"
        return f"of each side, from its distribution over bins 0 to {head.reg_max}, {apart}"
    return "of each side, a number of its own" if head.has_spread else f"none: the boxes are {head.box}"
