"""The selection of the ONNX contract as graph operators, appended to the raw graph: the `detections` format.

The other implementation of the same specification is `nanogfl.contract.detections.select`; a property test holds
the two equal.
"""

import onnx
from onnx import compose, parser

from nanogfl.contract.detections import Selection

RAW_NAMES = ("boxes", "scores", "spread")
"""outputs of the raw graph; inside a `detections` file they are raw_boxes, raw_scores and raw_spread"""


def append_selection(raw: onnx.ModelProto, selection: Selection) -> onnx.ModelProto:
    """The raw graph followed by the selection; sizes are read from the raw graph."""
    height, width = (dim.dim_value for dim in raw.graph.input[0].type.tensor_type.shape.dim[1:3])
    points, classes = (dim.dim_value for dim in raw.graph.output[1].type.tensor_type.shape.dim[1:3])
    opset = raw.opset_import[0].version
    head = onnx.ModelProto()
    head.CopyFrom(raw)
    rename_values(head.graph, {name: f"raw_{name}" for name in RAW_NAMES})
    tail = selection_model(selection, hw=(height, width), points=points, classes=classes, opset=opset)
    tail.ir_version = head.ir_version
    joined = compose.merge_models(head, tail, io_map=[(f"raw_{name}", f"raw_{name}") for name in RAW_NAMES])
    del joined.metadata_props[:]
    del joined.opset_import[:]  # merging lists the same operator set twice
    joined.opset_import.append(onnx.helper.make_opsetid("", opset))
    return joined


def selection_model(
    selection: Selection, *, hw: tuple[int, int], points: int, classes: int, opset: int
) -> onnx.ModelProto:
    """raw_boxes (B, N, 4), raw_scores (B, N, C), raw_spread (B, N, 4) -> boxes, scores, labels, spread of K rows.

    TopK puts the lower index first among equal values, and NonMaxSuppression likewise: the order of `select`.
    """
    first = min(selection.candidates, points)
    pairs = min(selection.candidates, first * classes)
    keep = min(selection.keep, pairs)
    pad = selection.keep - keep  # a tiny network has fewer pairs than the contract has rows
    text = f"""
    <ir_version: 10, opset_import: ["": {opset}]>
    selection (float[B, {points}, 4] raw_boxes, float[B, {points}, {classes}] raw_scores,
               float[B, {points}, 4] raw_spread)
           => (float[B, {selection.keep}, 4] boxes, float[B, {selection.keep}] scores,
               int64[B, {selection.keep}] labels, float[B, {selection.keep}, 4] spread)
    <
      int64[1] first = {{{first}}}, int64[1] pairs = {{{pairs}}}, int64[1] keep = {{{keep}}},
      int64[1] axis_1 = {{1}}, int64[1] axis_2 = {{2}}, int64[1] column_0 = {{0}}, int64[1] column_2 = {{2}},
      int64[1] column_3 = {{3}}, int64[2] flat_shape = {{-1, {first * classes}}}, int64[1] class_count = {{{classes}}},
      int64[1, {classes}, 1] class_ids = {{{", ".join(str(i) for i in range(classes))}}},
      float[1] zero = {{0.0}}, int64[1] nothing = {{-1}},
      float[4] limit = {{{hw[1]}.0, {hw[0]}.0, {hw[1]}.0, {hw[0]}.0}},
      float[1] score_limit = {{{selection.score!r}}}, float[1] iou_limit = {{{selection.iou!r}}},
      int64[4] pad_rows = {{0, 0, 0, {pad}}}, int64[6] pad_boxes = {{0, 0, 0, 0, {pad}, 0}},
      float pad_zero = {{0.0}}, int64 pad_nothing = {{-1}}
    >
    {{
      best = ReduceMax <keepdims = 0> (raw_scores, axis_2)
      best_score, point = TopK <axis = 1> (best, first)
      point_index = Unsqueeze (point, axis_2)
      point_scores = GatherND <batch_dims = 1> (raw_scores, point_index)

      flat_scores = Reshape (point_scores, flat_shape)
      pair_score, pair = TopK <axis = 1> (flat_scores, pairs)
      pair_rank = Div (pair, class_count)
      pair_label = Mod (pair, class_count)
      pair_point = GatherElements <axis = 1> (point, pair_rank)
      pair_point_index = Unsqueeze (pair_point, axis_2)
      pair_boxes_free = GatherND <batch_dims = 1> (raw_boxes, pair_point_index)
      pair_boxes_low = Max (pair_boxes_free, zero)
      pair_boxes = Min (pair_boxes_low, limit)

      label_row = Unsqueeze (pair_label, axis_1)
      score_row = Unsqueeze (pair_score, axis_1)
      of_class = Equal (label_row, class_ids)
      class_scores = Where (of_class, score_row, zero)
      selected = NonMaxSuppression (pair_boxes, class_scores, keep, iou_limit, score_limit)
      selected_image = Slice (selected, column_0, axis_1, axis_1)
      selected_pair = Slice (selected, column_2, column_3, axis_1)
      selected_index = Concat <axis = 1> (selected_image, selected_pair)
      selected_score = GatherND (pair_score, selected_index)
      no_score = Mul (pair_score, zero)
      kept_score = ScatterND (no_score, selected_index, selected_score)

      row_score, row = TopK <axis = 1> (kept_score, keep)
      row_filled = Greater (row_score, zero)
      row_label = GatherElements <axis = 1> (pair_label, row)
      row_label_filled = Where (row_filled, row_label, nothing)
      row_point = GatherElements <axis = 1> (pair_point, row)
      row_index = Unsqueeze (row, axis_2)
      row_point_index = Unsqueeze (row_point, axis_2)
      row_boxes = GatherND <batch_dims = 1> (pair_boxes, row_index)
      row_spread = GatherND <batch_dims = 1> (raw_spread, row_point_index)
      row_filled_column = Unsqueeze (row_filled, axis_2)
      row_boxes_filled = Where (row_filled_column, row_boxes, zero)
      row_spread_filled = Where (row_filled_column, row_spread, zero)

      boxes = Pad (row_boxes_filled, pad_boxes, pad_zero)
      scores = Pad (row_score, pad_rows, pad_zero)
      labels = Pad (row_label_filled, pad_rows, pad_nothing)
      spread = Pad (row_spread_filled, pad_boxes, pad_zero)
    }}
    """
    return parser.parse_model(text)


def rename_values(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Renames tensors wherever they are made, used or declared."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
