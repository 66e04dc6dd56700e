"""Reads the values of all points inside a `detections` file, not only of the rows that it delivers."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose

from nanogfl.contract.card import ModelCard
from nanogfl.errors import UserError
from nanogfl.model.predictor import RawOutputs
from nanogfl_export.gate.written_file import WrittenFile
from nanogfl_export.graph.points import RAW_PREFIX


class Probe:
    """Network input -> boxes, scores and spread of all N points, by a copy of the file with other outputs.

    `all_points` (the network's outputs -> raw_boxes, raw_scores, raw_spread) decodes the logits of a file that decodes
    only its chosen points. Raises UserError for a file whose detections do not depend on these logits.
    """

    def __init__(self, path: Path, card: ModelCard, all_points: onnx.ModelProto) -> None:
        model = onnx.load_model(path)
        _keep_what_outputs_need(model.graph)  # a tensor that no output depends on proves nothing
        self._names = [RAW_PREFIX + name for name in ["boxes", "scores"] + ["spread"] * card.has_spread]
        made = {name for node in model.graph.node for name in node.output}
        if self._names[0] not in made:
            if missing := {value.name for value in all_points.graph.input} - made:
                raise UserError(
                    f"the .onnx computes its detections without {', '.join(sorted(missing))}; no file was written"
                )
            own = compose.add_prefix(all_points, "probe_", rename_inputs=False, rename_outputs=False)
            model.graph.node.extend(own.graph.node)
            model.graph.initializer.extend(own.graph.initializer)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._names)
        _keep_what_outputs_need(model.graph)
        self._file = WrittenFile(model.SerializeToString())

    def __call__(self, image: NDArray[np.uint8]) -> RawOutputs:
        """Network input (H, W, 3) -> boxes (1, N, 4), scores (1, N, C) and spread (1, N, 4)."""
        (outputs,) = self._file.run(image[None])
        boxes, scores, *spread = (outputs[name] for name in self._names)
        return RawOutputs(boxes, scores, spread[0] if spread else None)


def _keep_what_outputs_need(graph: onnx.GraphProto) -> None:
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
