"""The file's graph from its parts, joined by the names of their tensors: network, candidates, decode, suppression.

network      image -> cls_logits, dist_logits                          traced from the detector, rewritten or not
raw          all points decoded -> boxes, scores, spread
detections   candidates -> their boxes decoded -> suppression -> the remaining rows' spread decoded
plain        all points decoded -> candidates -> their boxes -> suppression -> the remaining rows' spread
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper, parser

from nanogfl.contract.card import ExportFormat
from nanogfl.contract.detections import Selection
from nanogfl.model.decode import Grid
from nanogfl_export.onnx_file import OPSET
from nanogfl_export.rewrite.view import GraphView
from nanogfl_export.selection_graph import candidates_model, fill_model, suppression_model
from nanogfl_export.trace import simplify

RAW_NAMES = ("boxes", "scores", "spread")
"""outputs of the `raw` format"""
RAW_PREFIX = "raw_"
"""of the same tensors inside a `detections` file that decodes all points"""


@dataclass(frozen=True)
class Parts:
    """What was traced, and what the rest is made from."""

    network: onnx.ModelProto
    row_decode: onnx.ModelProto
    grid: Grid
    hw: tuple[int, int]
    classes: int
    bins: int
    """R + 1"""


def assemble(
    parts: Parts, output_format: ExportFormat, selection: Selection, *, decode_chosen: bool, distributions: bool = False
) -> onnx.ModelProto:
    """`decode_chosen`: the integral and the decode of the chosen points only. `distributions`: two outputs more."""
    if output_format == "raw":
        return join([parts.network, all_points_model(parts, "")], RAW_NAMES)
    rows = chosen_points_model if decode_chosen else rows_of_all_points_model
    first = [] if decode_chosen else [all_points_model(parts, RAW_PREFIX)]
    single = decode_chosen and parts.network.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    tail = selection_models(
        parts, selection, rows, from_logits=decode_chosen, single=single, distributions=distributions
    )
    return join(
        [parts.network, *first, *tail],
        ["boxes", "scores", "labels", "spread"] + ["distributions", "points"] * distributions,
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
    """Candidates, their boxes, suppression, and the rest of the rows that are left."""
    keep = selection.keep
    fills: dict[str, tuple[int, ...]] = {"spread": (4,)}
    if distributions:
        fills |= {"distributions": (4, parts.bins), "points": (3,)}
    return [
        candidates_model(
            selection,
            points=len(parts.grid.points),
            classes=parts.classes,
            opset=OPSET,
            from_logits=from_logits,
            single=single,
        ),
        rows(parts, "point"),
        suppression_model(selection, hw=parts.hw, classes=parts.classes, opset=OPSET),
        rows(parts, "row"),
        *(fill_model(name, keep, sizes, OPSET) for name, sizes in fills.items()),
    ]


def join(models: Sequence[onnx.ModelProto], outputs: Sequence[str]) -> onnx.ModelProto:
    """One graph; a tensor that one part declares as output is another's input of that name, and what none delivers is
    the graph's input. Other names within a part are its own. What the outputs do not need is left out."""
    joined = onnx.ModelProto()
    joined.CopyFrom(models[0])
    declared = {value.name: value for model in models for value in model.graph.output}
    made = {name for model in models for node in model.graph.node for name in node.output}
    inputs: dict[str, onnx.ValueInfoProto] = {}
    for model in models:
        inputs |= {value.name: value for value in model.graph.input if value.name not in made}
    for model in models[1:]:
        own = compose.add_prefix(model, f"{model.graph.name}_", rename_inputs=False, rename_outputs=False)
        joined.graph.node.extend(own.graph.node)
        joined.graph.initializer.extend(own.graph.initializer)
    del joined.graph.output[:], joined.graph.value_info[:], joined.graph.input[:]
    joined.graph.output.extend(declared[name] for name in outputs)
    joined.graph.input.extend(inputs.values())
    model = GraphView(joined).finish()
    read = {name for node in model.graph.node for name in node.input}
    for value in [value for value in model.graph.input if value.name not in read]:
        model.graph.input.remove(value)
    return model


def all_points_model(parts: Parts, prefix: str) -> onnx.ModelProto:
    """cls_logits, dist_logits -> every point's boxes, scores, spread and distributions, named with the prefix."""
    grid, count = parts.grid, len(parts.grid.points)
    names = {name: prefix + name for name in ("boxes", "spread", "distributions")}
    places = {"points": f"{prefix}grid_points", "strides": f"{prefix}grid_strides"}
    model = _renamed(parts.row_decode, "all_points", names | places)
    scores = f"{prefix}scores"
    model.graph.node.append(helper.make_node("Sigmoid", ["cls_logits"], [scores], name=scores))
    for name, value in (("points", grid.points), ("strides", grid.strides)):
        model.graph.initializer.append(numpy_helper.from_array(value[None].cpu().numpy(), places[name]))
    del model.graph.input[:], model.graph.output[:]
    logits = {"cls_logits": [parts.classes], "dist_logits": [4, parts.bins]}
    decoded = {"boxes": [4], "scores": [parts.classes], "spread": [4], "distributions": [4, parts.bins]}
    model.graph.input.extend(_floats(name, ["B", count, *rest]) for name, rest in logits.items())
    model.graph.output.extend(_floats(prefix + name, ["B", count, *rest]) for name, rest in decoded.items())
    return simplify(model)


def rows_of_all_points_model(parts: Parts, kind: str) -> onnx.ModelProto:
    """point (B, Q) and every point's decoded values -> theirs. (`kind` "row": row_point -> row_boxes_free, ...)"""
    count, bins, index = len(parts.grid.points), parts.bins, _index_name(kind)
    model = parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": {OPSET}]>
    {kind}s (int64[B, Q] {index}, float[B, {count}, 4] raw_boxes, float[B, {count}, 4] raw_spread,
             float[B, {count}, 4, {bins}] raw_distributions)
      => (float[B, Q, 4] {kind}_boxes_free, float[B, Q, 4] {kind}_spread, float[B, Q, 4, {bins}] {kind}_distributions,
          float[B, Q, 3] {kind}_points)
    <int64[1] axis_2 = {{2}}>
    {{
      column = Unsqueeze ({index}, axis_2)
      {kind}_boxes_free = GatherND <batch_dims = 1> (raw_boxes, column)
      {kind}_spread = GatherND <batch_dims = 1> (raw_spread, column)
      {kind}_distributions = GatherND <batch_dims = 1> (raw_distributions, column)
      {kind}_points = Gather <axis = 0> (places, {index})
    }}
    """)
    model.graph.initializer.append(_places(parts))
    return model


def chosen_points_model(parts: Parts, kind: str) -> onnx.ModelProto:
    """The same from dist_logits (B, N, 4, R + 1), decoded here. What is not asked for, such as the spread of a point
    that may yet be suppressed, is left out by `join`.
    """
    count, bins, index = len(parts.grid.points), parts.bins, _index_name(kind)
    choose = parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": {OPSET}]>
    choose (int64[B, Q] {index}, float[B, {count}, 4, {bins}] dist_logits)
        => (float[B, Q, 4, {bins}] logits, float[B, Q, 2] xy, float[B, Q] stride, float[B, Q, 3] {kind}_points)
    <int64[1] axis_2 = {{2}}, int64[2] sizes = {{2, 1}}>
    {{
      column = Unsqueeze ({index}, axis_2)
      logits = GatherND <batch_dims = 1> (dist_logits, column)
      {kind}_points = Gather <axis = 0> (places, {index})
      xy, stride_column = Split <axis = 2> ({kind}_points, sizes)
      stride = Squeeze (stride_column, axis_2)
    }}
    """)
    choose.graph.initializer.append(_places(parts))
    decoded = {"boxes": f"{kind}_boxes_free", "spread": f"{kind}_spread", "distributions": f"{kind}_distributions"}
    names = {"dist_logits": "logits", "points": "xy", "strides": "stride", **decoded}
    model = join([choose, _renamed(parts.row_decode, "decode", names)], [*decoded.values(), f"{kind}_points"])
    model.graph.name = f"{kind}s"
    return model


def _index_name(kind: str) -> str:
    return "point" if kind == "point" else f"{kind}_point"


def _floats(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _places(parts: Parts) -> onnx.TensorProto:
    """(N, 3) x y stride of every point."""
    places = [*parts.grid.points.cpu().numpy().T, parts.grid.strides.cpu().numpy()]
    return numpy_helper.from_array(np.stack(places, axis=1), "places")


def _renamed(model: onnx.ModelProto, graph_name: str, names: Mapping[str, str]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.name = graph_name
    rename_values(copy.graph, names)
    return copy


def rename_values(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Renames tensors wherever they are made, used or declared."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
