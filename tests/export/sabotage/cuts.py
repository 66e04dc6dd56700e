"""How outputs are spoiled: computed right, and then changed by a few operators more."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.export.sabotage.surgery import KEEP, Array, Surgery

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


def in_a_fixed_order(order: Array) -> Cut:
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


def floats(*values: float) -> Array:
    return np.array(values, np.float32)
