"""The file's graph from its parts, joined by the names of their tensors: network, candidates, decode, suppression.

network      image -> cls_logits, box_pred, quality_logits             traced from the detector, rewritten or not
raw          all points decoded -> boxes, scores, spread
detections   candidates -> their boxes decoded -> suppression -> the remaining rows' spread decoded
plain        all points decoded -> candidates -> their boxes -> suppression -> the remaining rows' spread

A detector without a quality of its own has no quality_logits, one whose boxes have no spread no spread.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import compose, helper, numpy_helper, parser
from torch import Tensor

from nanogfl.contract.card import ExportFormat
from nanogfl.contract.detections import Selection
from nanogfl.model.boxes.decode import Grid
from nanogfl_export.graph.modules import decoded_rows, network_outputs
from nanogfl_export.graph.selection import candidates_model, fill_model, suppression_model
from nanogfl_export.graph.trace import simplify
from nanogfl_export.onnx_file import OPSET
from nanogfl_export.rewrite.view import GraphView

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

    @property
    def decoded(self) -> dict[str, list[int]]:
        """What the decode delivers of a point: name -> sizes."""
        return decoded_rows(self.grid.head)

    @property
    def raw_names(self) -> list[str]:
        """Outputs of the `raw` format."""
        return ["boxes", "scores"] + ["spread"] * self.grid.head.has_spread

    @property
    def logits(self) -> dict[str, list[int]]:
        """What the network delivers of a point: name -> sizes."""
        sizes = {"cls_logits": [self.classes], "box_pred": [4, self.grid.head.side_values], "quality_logits": []}
        return {name: sizes[name] for name in network_outputs(self.grid.head)}


def assemble(
    parts: Parts, output_format: ExportFormat, selection: Selection, *, decode_chosen: bool, distributions: bool = False
) -> onnx.ModelProto:
    """`decode_chosen`: the integral and the decode of the chosen points only. `distributions`: two outputs more."""
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
    """Candidates, their boxes, suppression, and the rest of the rows that are left."""
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
    """The network's outputs -> every point's scores and what the decode delivers, named with the prefix."""
    grid, count = parts.grid, len(parts.grid.points)
    names = {name: prefix + name for name in parts.decoded}
    places = {"points": f"{prefix}grid_points", "unit": f"{prefix}grid_unit"}
    model = _renamed(parts.row_decode, "all_points", names | places)
    scores, logits = f"{prefix}scores", parts.logits
    if "quality_logits" in logits:
        of_class, of_box, column = (f"{scores}_{part}" for part in ("class", "quality", "column"))
        model.graph.node.extend(
            [
                helper.make_node("Sigmoid", ["cls_logits"], [of_class], name=of_class),
                helper.make_node("Sigmoid", ["quality_logits"], [of_box], name=of_box),
                helper.make_node("Reshape", [of_box, f"{column}_shape"], [column], name=column),
                helper.make_node("Mul", [of_class, column], [scores], name=scores),
            ]
        )
        shape = np.array([0, count, 1], dtype=np.int64)
        model.graph.initializer.append(numpy_helper.from_array(shape, f"{column}_shape"))
    else:
        model.graph.node.append(helper.make_node("Sigmoid", ["cls_logits"], [scores], name=scores))
    for name, value in (("points", grid.points), ("unit", _unit(grid))):
        model.graph.initializer.append(numpy_helper.from_array(value[None].cpu().numpy(), places[name]))
    del model.graph.input[:], model.graph.output[:]
    decoded = parts.decoded | {"scores": [parts.classes]}
    model.graph.input.extend(_floats(name, ["B", count, *rest]) for name, rest in logits.items())
    model.graph.output.extend(_floats(prefix + name, ["B", count, *rest]) for name, rest in decoded.items())
    return simplify(model)


def rows_of_all_points_model(parts: Parts, kind: str) -> onnx.ModelProto:
    """point (B, Q) and every point's decoded values -> theirs. (`kind` "row": row_point -> row_boxes_free, ...)"""
    count, index, decoded = len(parts.grid.points), _index_name(kind), parts.decoded
    inputs = [f"float[B, {count}, {_sizes(rest)}] {RAW_PREFIX}{name}" for name, rest in decoded.items()]
    outputs = [f"float[B, Q, {_sizes(rest)}] {_row_name(kind, name)}" for name, rest in decoded.items()]
    gathers = [
        f"{_row_name(kind, name)} = GatherND <batch_dims = 1> ({RAW_PREFIX}{name}, column)\n" for name in decoded
    ]
    model = parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": {OPSET}]>
    {kind}s (int64[B, Q] {index}, {", ".join(inputs)}) => ({", ".join(outputs)}, float[B, Q, 3] {kind}_points)
    <int64[1] axis_2 = {{2}}>
    {{
      column = Unsqueeze ({index}, axis_2)
      {"".join(gathers)}
      {kind}_points = Gather <axis = 0> (places, {index})
    }}
    """)
    step = parts.grid.strides * parts.grid.head.bin_width
    places = torch.cat((parts.grid.points, step[:, None]), dim=1).cpu().numpy()
    model.graph.initializer.append(numpy_helper.from_array(places, "places"))
    return model


def chosen_points_model(parts: Parts, kind: str) -> onnx.ModelProto:
    """The same from box_pred (B, N, 4, P), decoded here. What is not asked for, such as the spread of a point that may
    yet be suppressed, is left out by `join`.
    """
    count, values, index = len(parts.grid.points), parts.grid.head.side_values, _index_name(kind)
    # x y and the unit of the answers: strides, or the two sides of an anchor
    units = 2 if parts.grid.anchors is not None else 1
    unit = "unit = Identity (unit_columns)" if units == 2 else "unit = Squeeze (unit_columns, axis_2)"
    choose = parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": {OPSET}]>
    choose (int64[B, Q] {index}, float[B, {count}, 4, {values}] box_pred)
        => (float[B, Q, 4, {values}] chosen, float[B, Q, 2] xy, float[{"B, Q, 2" if units == 2 else "B, Q"}] unit,
            float[B, Q, {2 + units}] {kind}_points)
    <int64[1] axis_2 = {{2}}, int64[2] sizes = {{2, {units}}}>
    {{
      column = Unsqueeze ({index}, axis_2)
      chosen = GatherND <batch_dims = 1> (box_pred, column)
      place = Gather <axis = 0> (places, {index})
      xy, unit_columns = Split <axis = 2> (place, sizes)
      {unit}
      {kind}_points = {"Identity (place)" if parts.grid.head.bin_width == 1 else "Mul (place, bin_width)"}
    }}
    """)
    choose.graph.initializer.append(_places(parts))
    if parts.grid.head.bin_width != 1:  # the third of `points` is the step from bin to bin
        step = np.array([1, 1, parts.grid.head.bin_width], dtype=np.float32)
        choose.graph.initializer.append(numpy_helper.from_array(step, "bin_width"))
    decoded = {name: _row_name(kind, name) for name in parts.decoded}
    names = {"box_pred": "chosen", "points": "xy", **decoded}
    model = join([choose, _renamed(parts.row_decode, "decode", names)], [*decoded.values(), f"{kind}_points"])
    model.graph.name = f"{kind}s"
    return model


def _row_name(kind: str, decoded: str) -> str:
    return f"{kind}_boxes_free" if decoded == "boxes" else f"{kind}_{decoded}"


def _sizes(sizes: list[int]) -> str:
    return ", ".join(str(size) for size in sizes)


def _index_name(kind: str) -> str:
    return "point" if kind == "point" else f"{kind}_point"


def _floats(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _unit(grid: Grid) -> Tensor:
    """What a point's answers are measured in: strides (N,), or its anchor's sides (N, 2)."""
    return grid.strides if grid.anchors is None else grid.anchors


def _places(parts: Parts) -> onnx.TensorProto:
    """(N, 3) x y stride of every point; (N, 4) x y and sides of every anchor."""
    grid = parts.grid
    unit = _unit(grid).reshape(len(grid.points), -1)
    return numpy_helper.from_array(torch.cat((grid.points, unit), dim=1).cpu().numpy(), "places")


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
