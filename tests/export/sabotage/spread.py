"""Wrong spread, distributions and points: what a detection says of its sides."""

import numpy as np

from tests.export.sabotage.attempt import EVERY, IN_ROWS, WITHIN, Corruption
from tests.export.sabotage.rows import of_rows, only_where, outputs
from tests.export.sabotage.subject import SPEC
from tests.export.sabotage.surgery import KEEP, Array, Surgery

BINS = 8


def _f(*values: float) -> Array:
    return np.array(values, np.float32)


def variance(graph: Surgery) -> None:
    """No root."""
    graph.nearest("spread", "Sqrt").op_type = "Abs"  # of what is never negative


def softmax_over_sides(graph: Surgery) -> None:
    """In a rewritten file of the spread alone."""
    node = graph.nearest("spread", "Softmax")
    del node.attribute[:]
    node.attribute.add(name="axis", type=2, i=-2)


def bins_from_one(graph: Surgery) -> None:
    """The deviation is taken from a mean that counts from 0, with bins that count from 1."""
    node = next(
        node
        for node in graph.upwards("spread")
        if node.op_type == "Sub" and any(name == node.input[0] for name in graph.bins())
    )
    graph.give(node, 0, graph.constant(node.input[0]) + 1)


_NEIGHBOUR = np.arange(KEEP) ^ 1
_FIRST_HIT = "first = Equal(row, nought) hit = Unsqueeze(first, axis_2)"

SPREAD = [
    Corruption("spread zero", "graph", EVERY, outputs("spread = Mul(right_spread, f)", f=_f(0))),
    Corruption("spread NaN", "graph", IN_ROWS, of_rows("mask = Unsqueeze(filled, axis_2) spread = Where(mask, nan, right_spread)", nan=_f(np.nan))),
    Corruption("spread NaN in the best row", "graph", IN_ROWS, only_where("spread", _FIRST_HIT, "changed = Identity(nan)", nan=_f(np.nan))),
    Corruption("spread infinite in one row", "graph", IN_ROWS, only_where("spread", _FIRST_HIT, "changed = Identity(inf)", inf=_f(np.inf))),
    Corruption("spread doubled", "graph", EVERY, outputs("spread = Mul(right_spread, f)", f=_f(2))),
    Corruption("spread x 1.02", "graph", EVERY, outputs("spread = Mul(right_spread, f)", f=_f(1.02))),
    Corruption("spread + .1 px", "graph", IN_ROWS, of_rows("more = Mul(column, f) spread = Add(right_spread, more)", f=_f(0.1))),
    Corruption("spread negative", "graph", EVERY, outputs("spread = Neg(right_spread)")),
    Corruption("spread is a variance", "graph", EVERY, variance),
    Corruption("spread squared", "graph", EVERY, outputs("spread = Mul(right_spread, right_spread)")),
    Corruption("spread's left and right swapped", "graph", EVERY, outputs("spread = Gather <axis = 2> (right_spread, order)", order=[2, 1, 0, 3])),
    Corruption("spread's top and bottom swapped", "graph", EVERY, outputs("spread = Gather <axis = 2> (right_spread, order)", order=[0, 3, 2, 1])),
    Corruption("spread of the left side only", "graph", EVERY, outputs("spread = Mul(right_spread, f)", f=_f(1, 0, 0, 0))),
    Corruption("spread of the left side everywhere", "graph", EVERY, outputs("spread = Gather <axis = 2> (right_spread, order)", order=[0, 0, 0, 0])),
    Corruption("spread of x scaled as of y", "graph", EVERY, outputs("spread = Mul(right_spread, f)", f=_f(SPEC.hw[0] / SPEC.hw[1], 1, SPEC.hw[0] / SPEC.hw[1], 1))),
    Corruption("spread in bins", "graph", EVERY, outputs("spread = Mul(right_spread, f)", f=_f(1 / 8))),
    Corruption("spread of the neighbouring rows", "graph", IN_ROWS, outputs("spread = Gather <axis = 1> (right_spread, order)", order=_NEIGHBOUR)),
    Corruption("spread of the neighbouring points", "graph", ("raw",), outputs("spread = Concat <axis = 1> (rest, first) rest = Slice(right_spread, one, end, one) first = Slice(right_spread, nought, one, one)", nought=[0], one=[1], end=[1 << 40])),
    Corruption("spread of the best row everywhere", "graph", IN_ROWS, of_rows("best = Slice(right_spread, at, to, at_axis) spread = Mul(column, best)", at=[0], to=[1], at_axis=[1])),
    Corruption("spread at most 8 px", "graph", IN_ROWS, outputs("spread = Min(right_spread, f)", f=_f(8))),
    Corruption("spread of narrow boxes zero", "graph", IN_ROWS, only_where("spread", "x1, y1, x2, y2 = Split <axis = 2, num_outputs = 4> (right_boxes) width = Sub(x2, x1) hit = Less(width, narrow)", "changed = Mul(right_spread, f)", narrow=_f(50), f=_f(0))),
    Corruption("spread: softmax over the sides", "graph", EVERY, softmax_over_sides),
    Corruption("spread: bins from 1 against a mean from 0", "graph", EVERY, bins_from_one),
    Corruption("spread + .02 px", "graph", IN_ROWS, of_rows("more = Mul(column, f) spread = Add(right_spread, more)", f=_f(0.02)), reported=WITHIN),
]  # fmt: skip

_SIDES = ("distributions",)

DISTRIBUTIONS = [
    Corruption("distributions uniform", "graph", _SIDES, of_rows("mask = Unsqueeze(filled, axes) distributions = Where(mask, p, right_distributions)", axes=[2, 3], p=_f(1 / BINS))),
    Corruption("distributions' left and right swapped", "graph", _SIDES, outputs("distributions = Gather <axis = 2> (right_distributions, order)", order=[2, 1, 0, 3])),
    Corruption("distributions' top and bottom swapped", "graph", _SIDES, outputs("distributions = Gather <axis = 2> (right_distributions, order)", order=[0, 3, 2, 1])),
    Corruption("distributions' bins reversed", "graph", _SIDES, outputs("distributions = Gather <axis = 3> (right_distributions, order)", order=np.arange(BINS)[::-1].copy())),
    Corruption("distributions one bin late", "graph", _SIDES, outputs("distributions = Gather <axis = 3> (right_distributions, order)", order=np.roll(np.arange(BINS), 1))),
    Corruption("distributions x .999", "graph", _SIDES, outputs("distributions = Mul(right_distributions, f)", f=_f(0.999))),
    Corruption("distributions squared", "graph", _SIDES, outputs("distributions = Mul(right_distributions, right_distributions)")),
    Corruption("distributions are cumulated", "graph", _SIDES, outputs("distributions = CumSum(right_distributions, axis)", axis=np.int64(3))),
    Corruption("distributions are logarithms", "graph", _SIDES, of_rows("mask = Unsqueeze(filled, axes) logarithm = Log(right_distributions) distributions = Where(mask, logarithm, right_distributions)", axes=[2, 3])),
    Corruption("distributions sharper, with the same sum", "graph", _SIDES, of_rows("mask = Unsqueeze(filled, axes) square = Mul(right_distributions, right_distributions) sum = ReduceSum(square, last) sharp = Div(square, sum) distributions = Where(mask, sharp, right_distributions)", axes=[2, 3], last=[3])),
    Corruption("distributions of the neighbouring rows", "graph", _SIDES, outputs("distributions = Gather <axis = 1> (right_distributions, order)", order=_NEIGHBOUR)),
    Corruption("distributions NaN in the best row", "graph", _SIDES, only_where("distributions", "first = Equal(row, nought) hit = Unsqueeze(first, axes)", "changed = Identity(nan)", axes=[2, 3], nan=_f(np.nan))),
    Corruption("points halved", "graph", _SIDES, outputs("points = Mul(right_points, f)", f=_f(0.5, 0.5, 1))),
    Corruption("points half a cell off", "graph", _SIDES, outputs("x, y, step = Split <axis = 2, num_outputs = 3> (right_points) half = Mul(step, f) x2 = Add(x, half) points = Concat <axis = 2> (x2, y, step)", f=_f(0.5))),
    Corruption("points' x and y swapped", "graph", _SIDES, outputs("points = Gather <axis = 2> (right_points, order)", order=[1, 0, 2])),
    Corruption("points' step 0", "graph", _SIDES, outputs("points = Mul(right_points, f)", f=_f(1, 1, 0))),
    Corruption("points' step 1", "graph", _SIDES, outputs("x, y, step = Split <axis = 2, num_outputs = 3> (right_points) unit = Min(step, f) points = Concat <axis = 2> (x, y, unit)", f=_f(1))),
    Corruption("points' step without the bin's width", "graph", _SIDES, outputs("points = Mul(right_points, f)", f=_f(1, 1, 2))),
    Corruption("points of the neighbouring rows", "graph", _SIDES, outputs("points = Gather <axis = 1> (right_points, order)", order=_NEIGHBOUR)),
    Corruption("points in the middle of the box", "graph", _SIDES, outputs("low, high = Split <axis = 2, num_outputs = 2> (right_boxes) sum = Add(low, high) middle = Mul(sum, f) x, y, step = Split <axis = 2, num_outputs = 3> (right_points) points = Concat <axis = 2> (middle, step)", f=_f(0.5))),
    Corruption("points NaN in the best row", "graph", _SIDES, only_where("points", _FIRST_HIT, "changed = Identity(nan)", nan=_f(np.nan))),
    Corruption("distributions x .99995", "graph", _SIDES, outputs("distributions = Mul(right_distributions, f)", f=_f(0.99995)), reported=WITHIN),
]  # fmt: skip

TABLE = [*SPREAD, *DISTRIBUTIONS]
