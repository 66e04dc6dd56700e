"""Wrong scores, boxes and labels."""

import numpy as np

from tests.export.sabotage.attempt import EVERY, IN_ROWS, WITHIN, of_graph
from tests.export.sabotage.cuts import floats, of_rows, only_where, outputs
from tests.export.sabotage.subject import CLASSES
from tests.export.sabotage.surgery import HW, KEEP

_WIDTH, _HEIGHT = HW[1], HW[0]
_LAST = len(CLASSES) - 1
_ORDER = np.arange(KEEP)
_SHUFFLED = np.random.default_rng(4).permutation(KEEP)

SCORES = [
    *of_graph(
        EVERY,
        {
            "scores x .999": outputs("scores = Mul(right_scores, f)", f=floats(0.999)),
            "scores squared": outputs("scores = Mul(right_scores, right_scores)"),
        },
    ),
    *of_graph(
        IN_ROWS,
        {
            "scores + 2e-4": of_rows("more = Mul(mark, f) scores = Add(right_scores, more)", f=floats(2e-4)),
            "scores with two digits": outputs(
                "a = Mul(right_scores, f) b = Round(a) scores = Div(b, f)", f=floats(100)
            ),
            "the best score is NaN": only_where(
                "scores", "hit = Equal(row, nought)", "changed = Identity(nan)", nan=floats(np.nan)
            ),
            "the third row's score + .002": of_rows(
                "more = Mul(mark, f) scores = Add(right_scores, more)", f=floats(*(0.002 * (_ORDER == 2)))[None]
            ),
            "the second class's scores x .99": only_where(
                "scores",
                "hit = Equal(right_labels, one)",
                "changed = Mul(right_scores, f)",
                one=np.int64(1),
                f=floats(0.99),
            ),
            "every row has the score of the next": outputs(
                "scores = Gather <axis = 1> (right_scores, order)", order=np.append(_ORDER[1:], KEEP - 1)
            ),
        },
    ),
    *of_graph(EVERY, {"scores x .9999": outputs("scores = Mul(right_scores, f)", f=floats(0.9999))}, reported=WITHIN),
    *of_graph(
        IN_ROWS,
        {"scores + 5e-5": of_rows("more = Mul(mark, f) scores = Add(right_scores, more)", f=floats(5e-5))},
        reported=WITHIN,
    ),
]

BOXES = [
    *of_graph(
        IN_ROWS,
        {
            "boxes + .1 px": of_rows("more = Mul(column, f) boxes = Add(right_boxes, more)", f=floats(0.1)),
            "left side - .06 px": of_rows(
                "more = Mul(column, f) boxes = Add(right_boxes, more)", f=floats(-0.06, 0, 0, 0)
            ),
            "boxes in fp16": outputs("half = Cast <to = 10> (right_boxes) boxes = Cast <to = 1> (half)"),
            "boxes in whole pixels": outputs("boxes = Round(right_boxes)"),
            "boxes' bottom clamped 2 px early": outputs(
                "boxes = Min(right_boxes, f)", f=floats(_WIDTH, _HEIGHT, _WIDTH, _HEIGHT - 2)
            ),
            "one row's box 1 px wider": only_where(
                "boxes",
                "first = Equal(row, nought) hit = Unsqueeze(first, axis_2)",
                "changed = Add(right_boxes, f)",
                f=floats(0, 0, 1, 0),
            ),
            "boxes of the neighbouring rows": outputs(
                "boxes = Gather <axis = 1> (right_boxes, order)", order=_ORDER ^ 1
            ),
            "the best box is NaN": only_where(
                "boxes",
                "first = Equal(row, nought) hit = Unsqueeze(first, axis_2)",
                "changed = Identity(nan)",
                nan=floats(np.nan),
            ),
            "wide boxes 1 px narrower": only_where(
                "boxes",
                "x1, y1, x2, y2 = Split <axis = 2, num_outputs = 4> (right_boxes) width = Sub(x2, x1) "
                "hit = Greater(width, wide)",
                "changed = Sub(right_boxes, f)",
                wide=floats(60),
                f=floats(0, 0, 1, 0),
            ),
            "boxes of the last class 1 px up": only_where(
                "boxes",
                "last = Equal(right_labels, c) hit = Unsqueeze(last, axis_2)",
                "changed = Sub(right_boxes, f)",
                c=np.int64(_LAST),
                f=floats(0, 1, 0, 1),
            ),
            "boxes wrong from row 15 on": only_where(
                "boxes",
                "late = GreaterOrEqual(row, c) late_filled = And(late, filled) hit = Unsqueeze(late_filled, axis_2)",
                "changed = Add(right_boxes, f)",
                c=np.int64(15),
                f=floats(3),
            ),
        },
    ),
    *of_graph(
        EVERY,
        {
            "boxes x 1.002": outputs("boxes = Mul(right_boxes, f)", f=floats(1.002)),
            "boxes from 0 to 1": outputs("boxes = Div(right_boxes, f)", f=floats(_WIDTH, _HEIGHT, _WIDTH, _HEIGHT)),
            "boxes scaled for H x W turned": outputs(
                "boxes = Mul(right_boxes, f)",
                f=floats(_HEIGHT / _WIDTH, _WIDTH / _HEIGHT, _HEIGHT / _WIDTH, _WIDTH / _HEIGHT),
            ),
            "boxes are x y w h": outputs(
                "low, high = Split <axis = 2, num_outputs = 2> (right_boxes) size = Sub(high, low) "
                "boxes = Concat <axis = 2> (low, size)"
            ),
            "boxes are centre and size": outputs(
                "low, high = Split <axis = 2, num_outputs = 2> (right_boxes) size = Sub(high, low) "
                "sum = Add(low, high) centre = Mul(sum, f) boxes = Concat <axis = 2> (centre, size)",
                f=floats(0.5),
            ),
            "boxes are y x y x": outputs("boxes = Gather <axis = 2> (right_boxes, order)", order=[1, 0, 3, 2]),
            "boxes' left and right swapped": outputs(
                "boxes = Gather <axis = 2> (right_boxes, order)", order=[2, 1, 0, 3]
            ),
        },
    ),
    *of_graph(
        IN_ROWS,
        {
            # at most .032 px, and within the picture
            "boxes x .9998": outputs("boxes = Mul(right_boxes, f)", f=floats(0.9998)),
            "boxes in fp16 below 128 px": outputs(
                "half = Cast <to = 10> (right_boxes) back = Cast <to = 1> (half) "
                "hit = Less(right_boxes, c) boxes = Where(hit, back, right_boxes)",
                c=floats(128),
            ),
        },
        reported=WITHIN,
    ),
]

LABELS = [
    *of_graph(
        IN_ROWS,
        {
            "labels + 1": of_rows(
                "next = Add(right_labels, one) turned = Mod(next, c) labels = Where(filled, turned, right_labels)",
                one=np.int64(1),
                c=np.int64(len(CLASSES)),
            ),
            "two labels swapped": of_rows(
                "place = Max(right_labels, nought) other = Gather(swap, place) "
                "labels = Where(filled, other, right_labels)",
                swap=[0, *range(_LAST, 0, -1)],
            ),
            "all labels 0": of_rows("labels = Where(filled, nought, right_labels)"),
            "the best row's label is another": only_where(
                "labels",
                "best = Equal(row, nought) hit = And(best, filled)",
                "next = Add(right_labels, one) changed = Mod(next, c)",
                one=np.int64(1),
                c=np.int64(len(CLASSES)),
            ),
            "labels beyond the classes": of_rows(
                "beyond = Add(right_labels, c) labels = Where(filled, beyond, right_labels)", c=np.int64(len(CLASSES))
            ),
        },
    )
]

TABLE = [*SCORES, *BOXES, *LABELS]
