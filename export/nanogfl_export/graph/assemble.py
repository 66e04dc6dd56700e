"""The file's graph, assembled from its parts: network, candidates, decode, suppression.

network      image -> cls_logits, box_pred, quality_logits             traced from the detector, rewritten or not
raw          all points decoded -> boxes, scores, spread
detections   candidates -> their boxes decoded -> suppression -> the spread of the remaining rows decoded
plain        all points decoded -> candidates -> their boxes -> suppression -> the spread of the remaining rows

A detector without a quality output has no quality_logits; boxes without a spread have no spread.
"""

from collections.abc import Callable

import onnx

from nanogfl.contract.card import ExportFormat
from nanogfl.contract.detections import Selection
from nanogfl_export.graph.join import join
from nanogfl_export.graph.points import (
    RAW_PREFIX,
    Parts,
    all_points_model,
    chosen_points_model,
    rows_of_all_points_model,
)
from nanogfl_export.graph.selection import candidates_model, fill_model, suppression_model
from nanogfl_export.onnx_file import OPSET


def assemble(
    parts: Parts, output_format: ExportFormat, selection: Selection, *, decode_chosen: bool, distributions: bool = False
) -> onnx.ModelProto:
    """The whole graph. `decode_chosen`: only the chosen points are decoded. `distributions`: two more outputs."""
    if output_format == "raw":
        return join([parts.network, all_points_model(parts, "")], parts.raw_names)
    rows = chosen_points_model if decode_chosen else rows_of_all_points_model
    first = [] if decode_chosen else [all_points_model(parts, RAW_PREFIX)]
    single = decode_chosen and parts.network.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    tail = selection_models(
        parts, selection, rows, from_logits=decode_chosen, single=single, distributions=distributions
    )
    return join(
        [parts.network, *first, *tail],
        ["boxes", "scores", "labels"]
        + ["spread"] * parts.grid.head.has_spread
        + ["distributions", "points"] * distributions,
    )


def selection_models(
    parts: Parts,
    selection: Selection,
    rows: Callable[[Parts, str], onnx.ModelProto],
    *,
    from_logits: bool,
    single: bool = False,
    distributions: bool = False,
) -> list[onnx.ModelProto]:
    """The graphs behind the network: candidates, their boxes, suppression, and the other values of the rows."""
    keep = selection.keep
    fills: dict[str, list[int]] = {name: parts.decoded[name] for name in ("spread",) if name in parts.decoded}
    if distributions:
        fills |= {"distributions": parts.decoded["distributions"], "points": [3]}
    return [
        candidates_model(
            selection,
            points=len(parts.grid.points),
            classes=parts.classes,
            opset=OPSET,
            from_logits=from_logits,
            quality=from_logits and "quality_logits" in parts.logits,
            single=single,
        ),
        rows(parts, "point"),
        suppression_model(selection, hw=parts.hw, classes=parts.classes, opset=OPSET),
        rows(parts, "row"),
        *(fill_model(name, keep, sizes, OPSET) for name, sizes in fills.items()),
    ]
