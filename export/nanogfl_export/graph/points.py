"""The decode of points in the graph: of all of them, or of chosen ones.

`chosen_points_model` decodes only the points that it is given; `rows_of_all_points_model` picks them from what
`all_points_model` has decoded. Both deliver the same tensors, so that the selection works behind either.
"""

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper, parser
from torch import Tensor

from nanogfl.model.boxes.decode import Grid
from nanogfl_export.graph.join import join, renamed
from nanogfl_export.graph.modules import decoded_rows, network_outputs
from nanogfl_export.graph.trace import simplify
from nanogfl_export.onnx_file import OPSET

RAW_PREFIX = "raw_"
"""names the decoded values of all points inside a `detections` file"""


@dataclass(frozen=True)
class Parts:
    """The traced graphs, and the facts that the rest of the file is made from."""

    network: onnx.ModelProto
    row_decode: onnx.ModelProto
    grid: Grid
    hw: tuple[int, int]
    classes: int

    @property
    def decoded(self) -> dict[str, list[int]]:
        """The decode's outputs per point: name -> sizes."""
        return decoded_rows(self.grid.head)

    @property
    def raw_names(self) -> list[str]:
        """The outputs of the `raw` format."""
        return ["boxes", "scores"] + ["spread"] * self.grid.head.has_spread

    @property
    def logits(self) -> dict[str, list[int]]:
        """The network's outputs per point: name -> sizes."""
        sizes = {"cls_logits": [self.classes], "box_pred": [4, self.grid.head.side_values], "quality_logits": []}
        return {name: sizes[name] for name in network_outputs(self.grid.head)}


def all_points_model(parts: Parts, prefix: str) -> onnx.ModelProto:
    """The network's outputs -> scores and decoded values of every point (B, N, ...), named with the prefix."""
    grid, count = parts.grid, len(parts.grid.points)
    names = {name: prefix + name for name in parts.decoded}
    places = {"points": f"{prefix}grid_points", "unit": f"{prefix}grid_unit"}
    model = renamed(parts.row_decode, "all_points", names | places)
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
    """point (B, Q) and the decoded values of all points -> those of the Q points.

    With `kind` "row" the names are row_point -> row_boxes_free and so on.
    """
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
    """The same from box_pred (B, N, 4, P), decoded here.

    `join` leaves out what is not asked for, such as the spread of a point that may yet be suppressed.
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
    model = join([choose, renamed(parts.row_decode, "decode", names)], [*decoded.values(), f"{kind}_points"])
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
    """The unit of a point's box_pred in pixels: strides (N,), or the sides of its anchor (N, 2)."""
    return grid.strides if grid.anchors is None else grid.anchors


def _places(parts: Parts) -> onnx.TensorProto:
    """(N, 3) x y and stride of every point, or (N, 4) x y and both sides of every anchor."""
    grid = parts.grid
    unit = _unit(grid).reshape(len(grid.points), -1)
    return numpy_helper.from_array(torch.cat((grid.points, unit), dim=1).cpu().numpy(), "places")
