"""The selection of the ONNX contract as graph operators: the `detections` format.

`nanogfl.contract.detections.select` implements the same specification; a property test compares the two. Three parts,
joined by `assemble`: the (point, class) pairs that are candidates; suppression; the remaining values of its rows.

Only scores above the limit can become detections, so the graph counts these first and keeps no more. That changes no
detection: TopK and NonMaxSuppression put the lower index first among equal values, as `select` does.
"""

import onnx
from onnx import parser

from nanogfl.contract.detections import Selection


def candidates_model(
    selection: Selection,
    *,
    points: int,
    classes: int,
    opset: int,
    from_logits: bool,
    quality: bool = False,
    single: bool = False,
) -> onnx.ModelProto:
    """Scores -> point (B, P), best first; pair_score, pair_label, pair_rank (B, Q), best first.

    A pair's point is the one at pair_rank. P and Q are the largest numbers among the pictures of the batch, P at least
    1. Input is raw_scores (B, N, C), or with `from_logits` cls_logits; with `quality` also quality_logits (B, N), whose
    sigmoid multiplies the scores. `single`: B is 1, so that pairs above the limit can be listed before they are sorted.

    Of logits, the sigmoid is taken only of each point's largest and of the chosen points: it rises, so the order is the
    same. Counts are float, exact below 2^24: onnxruntime sums int64 eight times as slowly.
    """
    source = f"float[B, {points}, {classes}] {'cls_logits' if from_logits else 'raw_scores'}"
    best = "largest = ReduceMax <keepdims = 0> (cls_logits, axis_2)  best = Sigmoid (largest)"
    chosen = "logits = GatherND <batch_dims = 1> (cls_logits, point_index)  point_scores = Sigmoid (logits)"
    if quality:
        source += f", float[B, {points}] quality_logits"
        best = f"""{best.replace("best", "best_class")}
      quality = Sigmoid (quality_logits)
      best = Mul (best_class, quality)"""
        chosen = f"""{chosen.replace("point_scores", "class_scores")}
      point_quality = GatherND <batch_dims = 1> (quality, point_index)
      quality_column = Unsqueeze (point_quality, axis_2)
      point_scores = Mul (class_scores, quality_column)"""
    if not from_logits:
        best = "best = ReduceMax <keepdims = 0> (raw_scores, axis_2)"
        chosen = "point_scores = GatherND <batch_dims = 1> (raw_scores, point_index)"
    return parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": {opset}]>
    candidates ({source})
           => (int64[B, P] point, float[B, Q] pair_score, int64[B, Q] pair_label, int64[B, Q] pair_rank)
    <
      int64[1] axis_1 = {{1}}, int64[1] axis_2 = {{2}}, int64[2] flat_shape = {{0, -1}},
      float at_least = {{1.0}}, float at_most = {{{selection.candidates}.0}},
      int64[1] most = {{{selection.candidates}}},
      int64[1] class_count = {{{classes}}}, float[1] score_limit = {{{selection.score!r}}}
    >
    {{
      {best}
      is_point = Greater (best, score_limit)
      {_count("point")}
      best_score, point = TopK <axis = 1> (best, point_k)
      point_index = Unsqueeze (point, axis_2)
      {chosen}

      flat_scores = Reshape (point_scores, flat_shape)
      is_pair = Greater (flat_scores, score_limit)
      {_LIST_THEN_SORT if single else _count("pair") + _SORT}
      pair_rank = Div (pair, class_count)
      pair_label = Mod (pair, class_count)
    }}
    """)


def _count(name: str) -> str:
    """is_NAME (B, .) -> NAME_k (1,), the largest count of a picture, between 1 and the limit."""
    return f"""
      {name}_ones = Cast <to = 1> (is_{name})
      {name}_counts = ReduceSum <keepdims = 0> ({name}_ones, axis_1)
      {name}_most = ReduceMax <keepdims = 1> ({name}_counts)
      {name}_within = Clip ({name}_most, at_least, at_most)
      {name}_k = Cast <to = 7> ({name}_within)"""


_SORT = """
      pair_score, pair = TopK <axis = 1> (flat_scores, pair_k)"""
_LIST_THEN_SORT = """
      found = NonZero (is_pair)
      found_pair = Gather <axis = 0> (found, axis_1)
      found_score = GatherElements <axis = 1> (flat_scores, found_pair)
      found_count = Shape <start = 1, end = 2> (found_pair)
      pair_k = Min (found_count, most)
      pair_score, order = TopK <axis = 1> (found_score, pair_k)
      pair = GatherElements <axis = 1> (found_pair, order)"""


def suppression_model(selection: Selection, *, hw: tuple[int, int], classes: int, opset: int) -> onnx.ModelProto:
    """point (B, P), point_boxes_free (B, P, 4); pair_score, pair_label, pair_rank (B, Q) -> boxes, scores, labels of K
    rows; row_point (B, S), the points of the first S rows; row_filled (B, S), whether they are detections; missing
    (1,), K - S."""
    keep = selection.keep
    return parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": {opset}]>
    suppression (int64[B, P] point, float[B, P, 4] point_boxes_free,
                 float[B, Q] pair_score, int64[B, Q] pair_label, int64[B, Q] pair_rank)
           => (float[B, {keep}, 4] boxes, float[B, {keep}] scores, int64[B, {keep}] labels,
               int64[B, S] row_point, bool[B, S] row_filled, int64[1] missing)
    <
      int64[1] keep = {{{keep}}}, int64[1] axis_1 = {{1}}, int64[1] axis_2 = {{2}},
      int64[1] column_0 = {{0}}, int64[1] column_2 = {{2}}, int64[1] column_3 = {{3}},
      int64[1, {classes}, 1] class_ids = {{{", ".join(str(i) for i in range(classes))}}},
      float[1] zero = {{0.0}}, int64[1] nothing = {{-1}},
      float[4] limit = {{{hw[1]}.0, {hw[0]}.0, {hw[1]}.0, {hw[0]}.0}},
      float[1] score_limit = {{{selection.score!r}}}, float[1] iou_limit = {{{selection.iou!r}}},
      int64[3] before_list = {{0, 0, 0}}, int64[4] before_table = {{0, 0, 0, 0}}, int64[1] behind_table = {{0}},
      float pad_zero = {{0.0}}, int64 pad_nothing = {{-1}}
    >
    {{
      point_boxes_low = Max (point_boxes_free, zero)
      point_boxes = Min (point_boxes_low, limit)
      pair_index = Unsqueeze (pair_rank, axis_2)
      pair_boxes = GatherND <batch_dims = 1> (point_boxes, pair_index)
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

      pair_total = Shape <start = 1, end = 2> (pair_score)
      row_k = Min (pair_total, keep)
      row_score, row = TopK <axis = 1> (kept_score, row_k)
      row_filled = Greater (row_score, zero)
      row_rank = GatherElements <axis = 1> (pair_rank, row)
      row_point = GatherElements <axis = 1> (point, row_rank)
      row_label = GatherElements <axis = 1> (pair_label, row)
      row_label_filled = Where (row_filled, row_label, nothing)
      row_index = Unsqueeze (row, axis_2)
      row_boxes = GatherND <batch_dims = 1> (pair_boxes, row_index)
      row_filled_column = Unsqueeze (row_filled, axis_2)
      row_boxes_filled = Where (row_filled_column, row_boxes, zero)

      missing = Sub (keep, row_k)
      pad_list = Concat <axis = 0> (before_list, missing)
      pad_table = Concat <axis = 0> (before_table, missing, behind_table)
      boxes = Pad (row_boxes_filled, pad_table, pad_zero)
      scores = Pad (row_score, pad_list, pad_zero)
      labels = Pad (row_label_filled, pad_list, pad_nothing)
    }}
    """)


def fill_model(name: str, keep: int, sizes: list[int], opset: int) -> onnx.ModelProto:
    """row_NAME (B, S, sizes), row_filled (B, S), missing (1,) -> NAME (B, K, sizes), zero in unused rows."""
    rest, rank = ", ".join(str(size) for size in sizes), len(sizes)
    axes = ", ".join(str(2 + axis) for axis in range(rank))
    return parser.parse_model(f"""
    <ir_version: 10, opset_import: ["": {opset}]>
    fill_{name} (float[B, S, {rest}] row_{name}, bool[B, S] row_filled, int64[1] missing)
           => (float[B, {keep}, {rest}] {name})
    <
      int64[{rank}] axes = {{{axes}}}, float[1] zero = {{0.0}}, float pad_zero = {{0.0}},
      int64[{rank + 3}] before = {{{_zeros(rank + 3)}}}, int64[{rank}] behind = {{{_zeros(rank)}}}
    >
    {{
      filled = Unsqueeze (row_filled, axes)
      rows = Where (filled, row_{name}, zero)
      pads = Concat <axis = 0> (before, missing, behind)
      {name} = Pad (rows, pads, pad_zero)
    }}
    """)


def _zeros(count: int) -> str:
    return ", ".join("0" * count)
