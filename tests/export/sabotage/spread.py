"""Wrong spread, distributions and points: what a detection says of its sides."""

import numpy as np

from tests.export.sabotage.attempt import EVERY, IN_ROWS, WITHIN, of_graph
from tests.export.sabotage.cuts import floats, of_rows, only_where, outputs
from tests.export.sabotage.subject import SPEC
from tests.export.sabotage.surgery import KEEP, Surgery

BINS = 8


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
    *of_graph(
        EVERY,
        {
            "spread zero": outputs("spread = Mul(right_spread, f)", f=floats(0)),
            "spread doubled": outputs("spread = Mul(right_spread, f)", f=floats(2)),
            "spread x 1.02": outputs("spread = Mul(right_spread, f)", f=floats(1.02)),
            "spread negative": outputs("spread = Neg(right_spread)"),
            "spread is a variance": variance,
            "spread squared": outputs("spread = Mul(right_spread, right_spread)"),
            "spread's left and right swapped": outputs(
                "spread = Gather <axis = 2> (right_spread, order)", order=[2, 1, 0, 3]
            ),
            "spread's top and bottom swapped": outputs(
                "spread = Gather <axis = 2> (right_spread, order)", order=[0, 3, 2, 1]
            ),
            "spread of the left side only": outputs("spread = Mul(right_spread, f)", f=floats(1, 0, 0, 0)),
            "spread of the left side everywhere": outputs(
                "spread = Gather <axis = 2> (right_spread, order)", order=[0, 0, 0, 0]
            ),
            "spread of x scaled as of y": outputs(
                "spread = Mul(right_spread, f)", f=floats(SPEC.hw[0] / SPEC.hw[1], 1, SPEC.hw[0] / SPEC.hw[1], 1)
            ),
            "spread in bins": outputs("spread = Mul(right_spread, f)", f=floats(1 / 8)),
            "spread: softmax over the sides": softmax_over_sides,
            "spread: bins from 1 against a mean from 0": bins_from_one,
        },
    ),
    *of_graph(
        IN_ROWS,
        {
            "spread NaN": of_rows(
                "mask = Unsqueeze(filled, axis_2) spread = Where(mask, nan, right_spread)", nan=floats(np.nan)
            ),
            "spread NaN in the best row": only_where(
                "spread", _FIRST_HIT, "changed = Identity(nan)", nan=floats(np.nan)
            ),
            "spread infinite in one row": only_where(
                "spread", _FIRST_HIT, "changed = Identity(inf)", inf=floats(np.inf)
            ),
            "spread + .1 px": of_rows("more = Mul(column, f) spread = Add(right_spread, more)", f=floats(0.1)),
            "spread of the neighbouring rows": outputs(
                "spread = Gather <axis = 1> (right_spread, order)", order=_NEIGHBOUR
            ),
            "spread of the best row everywhere": of_rows(
                "best = Slice(right_spread, at, to, at_axis) spread = Mul(column, best)", at=[0], to=[1], at_axis=[1]
            ),
            "spread at most 8 px": outputs("spread = Min(right_spread, f)", f=floats(8)),
            "spread of narrow boxes zero": only_where(
                "spread",
                "x1, y1, x2, y2 = Split <axis = 2, num_outputs = 4> (right_boxes) width = Sub(x2, x1) "
                "hit = Less(width, narrow)",
                "changed = Mul(right_spread, f)",
                narrow=floats(50),
                f=floats(0),
            ),
        },
    ),
    *of_graph(
        ("raw",),
        {
            "spread of the neighbouring points": outputs(
                "spread = Concat <axis = 1> (rest, first) rest = Slice(right_spread, one, end, one) "
                "first = Slice(right_spread, nought, one, one)",
                nought=[0],
                one=[1],
                end=[1 << 40],
            )
        },
    ),
    *of_graph(
        IN_ROWS,
        {"spread + .02 px": of_rows("more = Mul(column, f) spread = Add(right_spread, more)", f=floats(0.02))},
        reported=WITHIN,
    ),
]

_SIDES = ("distributions",)

DISTRIBUTIONS = [
    *of_graph(
        _SIDES,
        {
            "distributions uniform": of_rows(
                "mask = Unsqueeze(filled, axes) distributions = Where(mask, p, right_distributions)",
                axes=[2, 3],
                p=floats(1 / BINS),
            ),
            "distributions' left and right swapped": outputs(
                "distributions = Gather <axis = 2> (right_distributions, order)", order=[2, 1, 0, 3]
            ),
            "distributions' top and bottom swapped": outputs(
                "distributions = Gather <axis = 2> (right_distributions, order)", order=[0, 3, 2, 1]
            ),
            "distributions' bins reversed": outputs(
                "distributions = Gather <axis = 3> (right_distributions, order)", order=np.arange(BINS)[::-1].copy()
            ),
            "distributions one bin late": outputs(
                "distributions = Gather <axis = 3> (right_distributions, order)", order=np.roll(np.arange(BINS), 1)
            ),
            "distributions x .999": outputs("distributions = Mul(right_distributions, f)", f=floats(0.999)),
            "distributions squared": outputs("distributions = Mul(right_distributions, right_distributions)"),
            "distributions are cumulated": outputs(
                "distributions = CumSum(right_distributions, axis)", axis=np.int64(3)
            ),
            "distributions are logarithms": of_rows(
                "mask = Unsqueeze(filled, axes) logarithm = Log(right_distributions) "
                "distributions = Where(mask, logarithm, right_distributions)",
                axes=[2, 3],
            ),
            "distributions sharper, with the same sum": of_rows(
                "mask = Unsqueeze(filled, axes) square = Mul(right_distributions, right_distributions) "
                "sum = ReduceSum(square, last) sharp = Div(square, sum) "
                "distributions = Where(mask, sharp, right_distributions)",
                axes=[2, 3],
                last=[3],
            ),
            "distributions of the neighbouring rows": outputs(
                "distributions = Gather <axis = 1> (right_distributions, order)", order=_NEIGHBOUR
            ),
            "distributions NaN in the best row": only_where(
                "distributions",
                "first = Equal(row, nought) hit = Unsqueeze(first, axes)",
                "changed = Identity(nan)",
                axes=[2, 3],
                nan=floats(np.nan),
            ),
            "points halved": outputs("points = Mul(right_points, f)", f=floats(0.5, 0.5, 1)),
            "points half a cell off": outputs(
                "x, y, step = Split <axis = 2, num_outputs = 3> (right_points) half = Mul(step, f) "
                "x2 = Add(x, half) points = Concat <axis = 2> (x2, y, step)",
                f=floats(0.5),
            ),
            "points' x and y swapped": outputs("points = Gather <axis = 2> (right_points, order)", order=[1, 0, 2]),
            "points' step 0": outputs("points = Mul(right_points, f)", f=floats(1, 1, 0)),
            "points' step 1": outputs(
                "x, y, step = Split <axis = 2, num_outputs = 3> (right_points) unit = Min(step, f) "
                "points = Concat <axis = 2> (x, y, unit)",
                f=floats(1),
            ),
            "points' step without the bin's width": outputs("points = Mul(right_points, f)", f=floats(1, 1, 2)),
            "points of the neighbouring rows": outputs(
                "points = Gather <axis = 1> (right_points, order)", order=_NEIGHBOUR
            ),
            "points in the middle of the box": outputs(
                "low, high = Split <axis = 2, num_outputs = 2> (right_boxes) sum = Add(low, high) "
                "middle = Mul(sum, f) x, y, step = Split <axis = 2, num_outputs = 3> (right_points) "
                "points = Concat <axis = 2> (middle, step)",
                f=floats(0.5),
            ),
            "points NaN in the best row": only_where(
                "points", _FIRST_HIT, "changed = Identity(nan)", nan=floats(np.nan)
            ),
        },
    ),
    *of_graph(
        _SIDES,
        {"distributions x .99995": outputs("distributions = Mul(right_distributions, f)", f=floats(0.99995))},
        reported=WITHIN,
    ),
]

TABLE = [*SPREAD, *DISTRIBUTIONS]
