"""Wrong rows: their order, how many there are, and what stands in the unused ones."""

import numpy as np

from tests.export.sabotage.attempt import IN_ROWS, of_graph
from tests.export.sabotage.cuts import emptied, floats, in_a_fixed_order, in_unused, of_rows, reordered
from tests.export.sabotage.subject import CLASSES
from tests.export.sabotage.surgery import HW, KEEP

_WIDTH, _HEIGHT = HW[1], HW[0]
_LAST = len(CLASSES) - 1
_ORDER = np.arange(KEEP)
_SHUFFLED = np.random.default_rng(4).permutation(KEEP)

ORDER = [
    *of_graph(
        IN_ROWS,
        {
            "worst row first": reordered(
                "back = Sub(count, row) last = Sub(back, one) inside = Less(row, count) "
                "order = Where(inside, last, row)",
                one=np.int64(1),
            ),
            "rows shuffled": in_a_fixed_order(_SHUFFLED),
            "the first two rows swapped": in_a_fixed_order(np.array([1, 0, *range(2, KEEP)])),
            "rows by label": reordered(
                "f = Cast <to = 1> (right_labels) k = Shape <start = 1, end = 2> (f) sorted, "
                "order = TopK <axis = 1> (f, k)"
            ),
            "unused rows first": reordered("ahead = Add(row, count) order = Mod(ahead, k)", k=np.int64(KEEP)),
            "the first row twice": in_a_fixed_order(np.append([0], _ORDER[:-1])),
            "the first row missing": in_a_fixed_order(np.append(_ORDER[1:], KEEP - 1)),
            "the last row missing": emptied("last = Sub(count, one) gone = Equal(row, last)", one=np.int64(1)),
            "a row in the middle missing": emptied(
                "flat = Mul(count, nought) one_row = Add(flat, c) gone = Equal(row, one_row)", c=np.int64(1)
            ),
            "one row fewer than is kept": emptied(
                "flat = Mul(count, nought) one_row = Add(flat, c) gone = Equal(row, one_row)", c=np.int64(KEEP - 1)
            ),
            "rows below .1 missing": emptied("gone = Less(right_scores, c)", c=floats(0.1)),
            "at most five rows": emptied(
                "flat = Mul(count, nought) most = Add(flat, c) gone = GreaterOrEqual(row, most)", c=np.int64(5)
            ),
            "no rows at all": emptied("gone = Less(right_scores, c)", c=floats(2)),
        },
    )
]

UNUSED = [
    *of_graph(
        IN_ROWS,
        {
            "unused rows have label 0": in_unused("labels", 0),
            "unused rows have label -2": in_unused("labels", -2),
            "unused rows have score .001": in_unused("scores", 1e-3),
            "unused rows have score -1": in_unused("scores", -1),
            "unused rows have score NaN": in_unused("scores", np.nan),
            "unused rows have a box": in_unused("boxes", 1),
            "unused rows have boxes of NaN": in_unused("boxes", np.nan),
            "unused rows have spread": in_unused("spread", 1),
            "unused rows have spread NaN": in_unused("spread", np.nan),
            "unused rows are weak detections": of_rows(
                "scores = Where(filled, right_scores, weak) labels = Where(filled, right_labels, nought)",
                weak=floats(0.04),
            ),
        },
    ),
    *of_graph(
        ("distributions",),
        {
            "unused rows have distributions": in_unused("distributions", 0.125),
            "unused rows have points": in_unused("points", 4),
        },
    ),
]

TABLE = [*ORDER, *UNUSED]
