"""Checkpoint -> one verified .onnx, or an error and no file."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from nanogfl import __version__
from nanogfl.contract.card import ExportFormat, ModelCard
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.machine.ort import onnxruntime
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.predictor import Predictor
from nanogfl.model.summary import count_complexity
from nanogfl_export.gate.card_check import check_card
from nanogfl_export.gate.compare import Device, measure_parity
from nanogfl_export.gate.parity import Parity
from nanogfl_export.graph.assemble import assemble
from nanogfl_export.graph.points import RAW_PREFIX, Parts, all_points_model
from nanogfl_export.graph.trace import trace_network, trace_row_decode
from nanogfl_export.onnx_file import check_file, check_same_graph, read_card, write_file
from nanogfl_export.rewrite.sequence import rewrite_decode, rewrite_network


@dataclass(frozen=True)
class Exported:
    """A written file and the gate's results."""

    path: Path
    card: ModelCard
    parity: Parity
    model: onnx.ModelProto
    """as written"""
    plain: onnx.ModelProto
    """the same without rewrites, for comparison in a report"""


def export_checkpoint(
    checkpoint_path: Path,
    output: Path,
    *,
    output_format: ExportFormat = "detections",
    batch: int | None = 1,
    rewrite: bool = True,
    distributions: bool = False,
    frames: Iterable[tuple[str, NDArray[np.uint8]]],
    frames_origin: str,
    open_device: Callable[[Path], Device],
) -> Exported:
    """Traces a checkpoint and writes it as one .onnx that agrees with PyTorch.

    The graph goes to a temporary file, which is reopened, checked, and compared with PyTorch on `frames` (name, uint8
    (h, w, 3) BGR). Only then it gets the name `output`, with the measured agreement in its card. `batch`: pictures at a
    time, None for any number. `rewrite`: the exact rewrites for speed. `distributions`: deliver the distributions of
    each side. `open_device(path)` is the runtime that users have. `frames_origin` names the frames in the card.

    Raises UserError, and leaves no file, where the file breaks its contract or differs from PyTorch.
    """
    if distributions and output_format != "detections":
        raise UserError("distributions belong to detections: leave out either --distributions or --format raw")
    checkpoint = load_checkpoint(checkpoint_path)
    head = checkpoint.config.model.head
    if distributions and not head.bins:
        raise UserError(
            f"{checkpoint_path} has boxes without distributions (model.head.box {head.box}): leave out --distributions"
        )
    detector, model_config = checkpoint.build(), checkpoint.config.model
    complexity = count_complexity(detector)
    card = ModelCard(
        classes=checkpoint.classes,
        category_ids=checkpoint.category_ids,
        input=model_config.input,
        selection=model_config.selection,
        format=output_format,
        has_spread=head.has_spread,
        bins=head.bins if distributions else 0,
        source={
            "box": head.box,
            "checkpoint_sha256": hashlib.sha256(checkpoint_path.read_bytes()).hexdigest(),
            "parameters": complexity.parameters,
            "macs": complexity.macs,
            "nanogfl": __version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            **{key: value for key, value in checkpoint.facts.items() if value is not None},
        },
    )
    traced = Parts(
        network=trace_network(detector, batch),
        row_decode=trace_row_decode(head),
        grid=detector.grid,
        hw=model_config.input.hw,
        classes=len(checkpoint.classes),
    )
    parts = traced
    if rewrite:
        parts = replace(traced, network=rewrite_network(traced.network), row_decode=rewrite_decode(traced.row_decode))
    whole = partial(
        assemble, output_format=output_format, selection=model_config.selection, distributions=distributions
    )
    model = whole(parts, decode_chosen=rewrite)
    plain = whole(traced, decode_chosen=False) if rewrite else model
    points = len(detector.grid.points)
    predictor = Predictor(detector, model_config, checkpoint.classes)
    with atomic_path(output) as temporary:
        write_file(model, card, temporary)
        measured = check_file(temporary, card, points)
        check_card(read_card(measured), checkpoint_path, measured, card.parity)
        all_points = all_points_model(traced, RAW_PREFIX)
        parity = measure_parity(temporary, predictor, open_device, frames, all_points).require()
        card = replace(card, parity={**parity.to_dict(), "on": frames_origin})
        write_file(model, card, temporary)  # the same graph, now with the figures
        written = check_file(temporary, card, points)
        check_card(read_card(written), checkpoint_path, written, {**parity.to_dict(), "on": frames_origin})
        check_same_graph(measured, written)
    return Exported(output, card, parity, written, plain if rewrite else written)
