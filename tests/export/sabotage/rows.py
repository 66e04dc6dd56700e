"""Wrong scores, boxes, labels and rows: the file's outputs are computed right and then spoiled."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.export.sabotage.attempt import EVERY, IN_ROWS, WITHIN, Corruption
from tests.export.sabotage.subject import CLASSES
from tests.export.sabotage.surgery import HW, KEEP, Surgery

Cut = Callable[[Surgery], None]

_OF_ROWS = """
  filled = GreaterOrEqual(right_labels, nought)
  whole_mark = Cast <to = 7> (filled)
  mark = Cast <to = 1> (filled)
  column = Unsqueeze(mark, axis_2)
  count = ReduceSum <keepdims = 1> (whole_mark, axis_1)
"""


def outputs(body: str, **constants: Any) -> Cut:
    """The outputs that the body makes, from right_boxes, right_scores, ..."""
    return lambda graph: graph.replace(body, **constants)


def of_rows(body: str, **constants: Any) -> Cut:
    """The same with filled, mark (B, K) and column (B, K, 1): 1 in the rows that are detections; count (B, 1) of them;
    row (1, K): 0, 1, 2 ..."""
    names = {"nought": np.int64(0), "axis_1": [1], "axis_2": [2], "row": np.arange(KEEP)[None]}
    return lambda graph: graph.replace(_OF_ROWS + body, **names, **constants)


def reordered(order: str, **constants: Any) -> Cut:
    """Every output's rows in the order (B, K) that the body gives."""

    def cut(graph: Surgery) -> None:
        gathers = "\n".join(f"{name} = GatherND <batch_dims = 1> (right_{name}, place)" for name in graph.rows)
        of_rows(order + "\n place = Unsqueeze(order, axis_2)\n" + gathers, **constants)(graph)

    return cut


def in_a_fixed_order(order: np.ndarray) -> Cut:
    return reordered("order = Add(row_order, nothing_of_it) nothing_of_it = Mul(count, nought)", row_order=order[None])


def emptied(where: str, **constants: Any) -> Cut:
    """The rows where the body's `gone` (B, K) is true are made unused ones, in every output."""

    def cut(graph: Surgery) -> None:
        fills = {"labels": "none", "scores": "zero"}
        axes = {"distributions": "axes_23"}
        lines = [
            f"{name} = Where(gone, {fills[name]}, right_{name})"
            if name in fills
            else f"gone_{name} = Unsqueeze(gone, {axes.get(name, 'axis_2')})"
            f" {name} = Where(gone_{name}, zero, right_{name})"
            for name in graph.rows
        ]
        known = {"none": np.int64(-1), "zero": np.float32(0), "axes_23": [2, 3]}
        of_rows(where + "\n" + "\n".join(lines), **known, **constants)(graph)

    return cut


def in_unused(name: str, value: float) -> Cut:
    """This value in the rows that are no detections."""
    axes = {"labels": "", "scores": "", "distributions": "axes_23"}.get(name, "axis_2")
    mask = f"mask = Unsqueeze(filled, {axes})" if axes else "mask = Identity(filled)"
    number = np.int64(value) if name == "labels" else np.float32(value)
    return of_rows(f"{mask} {name} = Where(mask, right_{name}, number)", number=number, axes_23=[2, 3])


def only_where(name: str, where: str, change: str, **constants: Any) -> Cut:
    """`changed` in place of the output where the body's `hit`, broadcast to it, is true."""
    return of_rows(f"{where} {change} {name} = Where(hit, changed, right_{name})", **constants)


def _f(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


_WIDTH, _HEIGHT = HW[1], HW[0]
_LAST = len(CLASSES) - 1
_ORDER = np.arange(KEEP)
_SHUFFLED = np.random.default_rng(4).permutation(KEEP)

SCORES = [
    Corruption("scores x .999", "graph", EVERY, outputs("scores = Mul(right_scores, f)", f=_f(0.999))),
    Corruption("scores + 2e-4", "graph", IN_ROWS, of_rows("more = Mul(mark, f) scores = Add(right_scores, more)", f=_f(2e-4))),
    Corruption("scores squared", "graph", EVERY, outputs("scores = Mul(right_scores, right_scores)")),
    Corruption("scores with two digits", "graph", IN_ROWS, outputs("a = Mul(right_scores, f) b = Round(a) scores = Div(b, f)", f=_f(100))),
    Corruption("the best score is NaN", "graph", IN_ROWS, only_where("scores", "hit = Equal(row, nought)", "changed = Identity(nan)", nan=_f(np.nan))),
    Corruption("the third row's score + .002", "graph", IN_ROWS, of_rows("more = Mul(mark, f) scores = Add(right_scores, more)", f=_f(*(0.002 * (_ORDER == 2)))[None])),
    Corruption("the second class's scores x .99", "graph", IN_ROWS, only_where("scores", "hit = Equal(right_labels, one)", "changed = Mul(right_scores, f)", one=np.int64(1), f=_f(0.99))),
    Corruption("every row has the score of the next", "graph", IN_ROWS, outputs("scores = Gather <axis = 1> (right_scores, order)", order=np.append(_ORDER[1:], KEEP - 1))),
    Corruption("scores x .9999", "graph", EVERY, outputs("scores = Mul(right_scores, f)", f=_f(0.9999)), reported=WITHIN),
    Corruption("scores + 5e-5", "graph", IN_ROWS, of_rows("more = Mul(mark, f) scores = Add(right_scores, more)", f=_f(5e-5)), reported=WITHIN),
]  # fmt: skip

BOXES = [
    Corruption("boxes + .1 px", "graph", IN_ROWS, of_rows("more = Mul(column, f) boxes = Add(right_boxes, more)", f=_f(0.1))),
    Corruption("boxes x 1.002", "graph", EVERY, outputs("boxes = Mul(right_boxes, f)", f=_f(1.002))),
    Corruption("left side - .06 px", "graph", IN_ROWS, of_rows("more = Mul(column, f) boxes = Add(right_boxes, more)", f=_f(-0.06, 0, 0, 0))),
    Corruption("boxes in fp16", "graph", IN_ROWS, outputs("half = Cast <to = 10> (right_boxes) boxes = Cast <to = 1> (half)")),
    Corruption("boxes in whole pixels", "graph", IN_ROWS, outputs("boxes = Round(right_boxes)")),
    Corruption("boxes from 0 to 1", "graph", EVERY, outputs("boxes = Div(right_boxes, f)", f=_f(_WIDTH, _HEIGHT, _WIDTH, _HEIGHT))),
    Corruption("boxes scaled for H x W turned", "graph", EVERY, outputs("boxes = Mul(right_boxes, f)", f=_f(_HEIGHT / _WIDTH, _WIDTH / _HEIGHT, _HEIGHT / _WIDTH, _WIDTH / _HEIGHT))),
    Corruption("boxes are x y w h", "graph", EVERY, outputs("low, high = Split <axis = 2, num_outputs = 2> (right_boxes) size = Sub(high, low) boxes = Concat <axis = 2> (low, size)")),
    Corruption("boxes are centre and size", "graph", EVERY, outputs("low, high = Split <axis = 2, num_outputs = 2> (right_boxes) size = Sub(high, low) sum = Add(low, high) centre = Mul(sum, f) boxes = Concat <axis = 2> (centre, size)", f=_f(0.5))),
    Corruption("boxes are y x y x", "graph", EVERY, outputs("boxes = Gather <axis = 2> (right_boxes, order)", order=[1, 0, 3, 2])),
    Corruption("boxes' left and right swapped", "graph", EVERY, outputs("boxes = Gather <axis = 2> (right_boxes, order)", order=[2, 1, 0, 3])),
    Corruption("boxes' bottom clamped 2 px early", "graph", IN_ROWS, outputs("boxes = Min(right_boxes, f)", f=_f(_WIDTH, _HEIGHT, _WIDTH, _HEIGHT - 2))),
    Corruption("one row's box 1 px wider", "graph", IN_ROWS, only_where("boxes", "first = Equal(row, nought) hit = Unsqueeze(first, axis_2)", "changed = Add(right_boxes, f)", f=_f(0, 0, 1, 0))),
    Corruption("boxes of the neighbouring rows", "graph", IN_ROWS, outputs("boxes = Gather <axis = 1> (right_boxes, order)", order=_ORDER ^ 1)),
    Corruption("the best box is NaN", "graph", IN_ROWS, only_where("boxes", "first = Equal(row, nought) hit = Unsqueeze(first, axis_2)", "changed = Identity(nan)", nan=_f(np.nan))),
    Corruption("wide boxes 1 px narrower", "graph", IN_ROWS, only_where("boxes", "x1, y1, x2, y2 = Split <axis = 2, num_outputs = 4> (right_boxes) width = Sub(x2, x1) hit = Greater(width, wide)", "changed = Sub(right_boxes, f)", wide=_f(60), f=_f(0, 0, 1, 0))),
    Corruption("boxes of the last class 1 px up", "graph", IN_ROWS, only_where("boxes", "last = Equal(right_labels, c) hit = Unsqueeze(last, axis_2)", "changed = Sub(right_boxes, f)", c=np.int64(_LAST), f=_f(0, 1, 0, 1))),
    Corruption("boxes wrong from row 15 on", "graph", IN_ROWS, only_where("boxes", "late = GreaterOrEqual(row, c) late_filled = And(late, filled) hit = Unsqueeze(late_filled, axis_2)", "changed = Add(right_boxes, f)", c=np.int64(15), f=_f(3))),
    Corruption("boxes + .03 px", "graph", IN_ROWS, of_rows("more = Mul(column, f) boxes = Add(right_boxes, more)", f=_f(0.03)), reported=WITHIN),
    # below 128 the steps of fp16 are 1/16 px: at most .031 px off
    Corruption("boxes in fp16 below 128 px", "graph", IN_ROWS, outputs("half = Cast <to = 10> (right_boxes) back = Cast <to = 1> (half) hit = Less(right_boxes, c) boxes = Where(hit, back, right_boxes)", c=_f(128)), reported=WITHIN),
]  # fmt: skip

LABELS = [
    Corruption("labels + 1", "graph", IN_ROWS, of_rows("next = Add(right_labels, one) turned = Mod(next, c) labels = Where(filled, turned, right_labels)", one=np.int64(1), c=np.int64(len(CLASSES)))),
    Corruption("two labels swapped", "graph", IN_ROWS, of_rows("place = Max(right_labels, nought) other = Gather(swap, place) labels = Where(filled, other, right_labels)", swap=[0, *range(_LAST, 0, -1)])),
    Corruption("all labels 0", "graph", IN_ROWS, of_rows("labels = Where(filled, nought, right_labels)")),
    Corruption("the best row's label is another", "graph", IN_ROWS, only_where("labels", "best = Equal(row, nought) hit = And(best, filled)", "next = Add(right_labels, one) changed = Mod(next, c)", one=np.int64(1), c=np.int64(len(CLASSES)))),
    Corruption("labels beyond the classes", "graph", IN_ROWS, of_rows("beyond = Add(right_labels, c) labels = Where(filled, beyond, right_labels)", c=np.int64(len(CLASSES)))),
]  # fmt: skip

ORDER = [
    Corruption("worst row first", "graph", IN_ROWS, reordered("back = Sub(count, row) last = Sub(back, one) inside = Less(row, count) order = Where(inside, last, row)", one=np.int64(1))),
    Corruption("rows shuffled", "graph", IN_ROWS, in_a_fixed_order(_SHUFFLED)),
    Corruption("the first two rows swapped", "graph", IN_ROWS, in_a_fixed_order(np.array([1, 0, *range(2, KEEP)]))),
    Corruption("rows by label", "graph", IN_ROWS, reordered("f = Cast <to = 1> (right_labels) k = Shape <start = 1, end = 2> (f) sorted, order = TopK <axis = 1> (f, k)")),
    Corruption("unused rows first", "graph", IN_ROWS, reordered("ahead = Add(row, count) order = Mod(ahead, k)", k=np.int64(KEEP))),
    Corruption("the first row twice", "graph", IN_ROWS, in_a_fixed_order(np.append([0], _ORDER[:-1]))),
    Corruption("the first row missing", "graph", IN_ROWS, in_a_fixed_order(np.append(_ORDER[1:], KEEP - 1))),
    Corruption("the last row missing", "graph", IN_ROWS, emptied("last = Sub(count, one) gone = Equal(row, last)", one=np.int64(1))),
    Corruption("a row in the middle missing", "graph", IN_ROWS, emptied("flat = Mul(count, nought) one_row = Add(flat, c) gone = Equal(row, one_row)", c=np.int64(1))),
    Corruption("one row fewer than is kept", "graph", IN_ROWS, emptied("flat = Mul(count, nought) one_row = Add(flat, c) gone = Equal(row, one_row)", c=np.int64(KEEP - 1))),
    Corruption("rows below .1 missing", "graph", IN_ROWS, emptied("gone = Less(right_scores, c)", c=_f(0.1))),
    Corruption("at most five rows", "graph", IN_ROWS, emptied("flat = Mul(count, nought) most = Add(flat, c) gone = GreaterOrEqual(row, most)", c=np.int64(5))),
    Corruption("no rows at all", "graph", IN_ROWS, emptied("gone = Less(right_scores, c)", c=_f(2))),
]  # fmt: skip

UNUSED = [
    Corruption("unused rows have label 0", "graph", IN_ROWS, in_unused("labels", 0)),
    Corruption("unused rows have label -2", "graph", IN_ROWS, in_unused("labels", -2)),
    Corruption("unused rows have score .001", "graph", IN_ROWS, in_unused("scores", 1e-3)),
    Corruption("unused rows have score -1", "graph", IN_ROWS, in_unused("scores", -1)),
    Corruption("unused rows have score NaN", "graph", IN_ROWS, in_unused("scores", np.nan)),
    Corruption("unused rows have a box", "graph", IN_ROWS, in_unused("boxes", 1)),
    Corruption("unused rows have boxes of NaN", "graph", IN_ROWS, in_unused("boxes", np.nan)),
    Corruption("unused rows have spread", "graph", IN_ROWS, in_unused("spread", 1)),
    Corruption("unused rows have spread NaN", "graph", IN_ROWS, in_unused("spread", np.nan)),
    Corruption("unused rows have distributions", "graph", ("distributions",), in_unused("distributions", 0.125)),
    Corruption("unused rows have points", "graph", ("distributions",), in_unused("points", 4)),
    Corruption("unused rows are weak detections", "graph", IN_ROWS, of_rows("scores = Where(filled, right_scores, weak) labels = Where(filled, right_labels, nought)", weak=_f(0.04))),
]  # fmt: skip

TABLE = [*SCORES, *BOXES, *LABELS, *ORDER, *UNUSED]
