"""Checks every field of a written card against the checkpoint's file and the graph beside it."""

import hashlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import onnx
import torch

from nanogfl import __version__
from nanogfl.contract.card import ExportFormat, ModelCard
from nanogfl.errors import UserError
from nanogfl.machine.ort import onnxruntime
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.summary import count_complexity


def check_card(card: ModelCard, checkpoint_path: Path, model: onnx.ModelProto, parity: dict[str, Any]) -> None:
    """Derives every field anew and compares. Raises UserError that names the wrong field.

    `model`: the file that the card was read from; `parity`: the gate's results.
    """
    checkpoint = load_checkpoint(checkpoint_path)
    detector, spec = checkpoint.build(), checkpoint.config.model.input
    complexity, head = count_complexity(detector), checkpoint.config.model.head
    outputs = {value.name: value.type.tensor_type.shape for value in model.graph.output}
    output_format: ExportFormat = "detections" if "labels" in outputs else "raw"
    expected: dict[str, Any] = {
        "classes": checkpoint.classes,
        "category_ids": checkpoint.category_ids,
        "input": spec,
        "selection": checkpoint.config.model.selection,
        "format": output_format,
        "has_spread": "spread" in outputs,
        "bins": outputs["distributions"].dim[-1].dim_value if "distributions" in outputs else 0,
        "parity": parity,
        "source": {
            **{key: value for key, value in checkpoint.facts.items() if value is not None},
            "box": head.box,
            "checkpoint_sha256": hashlib.sha256(checkpoint_path.read_bytes()).hexdigest(),
            "parameters": complexity.parameters,
            "macs": complexity.macs,
            "nanogfl": __version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "bench": {},
        "colour": "BGR",
        "layout": "uint8 (B, H, W, 3)",
        "interpolation": "bilinear",
        "contract": 1,
    }
    normalised = (*detector.mean.flatten().tolist(), *detector.std.flatten().tolist())
    for stated, used in zip((*spec.mean, *spec.std), normalised, strict=True):
        if abs(stated - used) > 1e-4 * abs(used):
            raise _wrong("input", f"{stated:g}", f"{used:g} in the network")
    for field in fields(ModelCard):
        value = getattr(card, field.name)
        if value != expected[field.name]:
            raise _wrong(field.name, *_difference(value, expected[field.name]))


def _difference(found: Any, expected: Any) -> tuple[str, str]:
    """Both values as text; of mappings only the entries that differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
        found, expected = ({key: side.get(key) for key in keys} for side in (found, expected))
    return str(found)[:200], str(expected)[:200]


def _wrong(name: str, found: str, expected: str) -> UserError:
    return UserError(
        f"the card of the written .onnx is wrong: {name} is {found}, expected {expected}; no file was left"
    )
