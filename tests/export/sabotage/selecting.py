"""A wrong selection: other limits, another suppression."""

import numpy as np

from tests.export.sabotage.attempt import IN_ROWS, of_graph
from tests.export.sabotage.cuts import Cut, floats
from tests.export.sabotage.subject import CLASSES, SELECTION
from tests.export.sabotage.surgery import CANDIDATES, Surgery


def number(right: float, wrong: float) -> Cut:
    """A limit of the selection, wherever the graph holds it."""

    def cut(graph: Surgery) -> None:
        for name, value in graph.limits(right).items():
            graph.change(name, np.full_like(value, wrong))

    return cut


def overlap(wrong: float) -> Cut:
    return lambda graph: graph.give(graph.suppression, 3, floats(wrong))


def class_agnostic(graph: Surgery) -> None:
    name = graph.suppression.input[1]
    first = floats(*[1] + [0] * (len(CLASSES) - 1)).reshape(1, -1, 1)
    graph.rewire(
        name, "any = ReduceMax <keepdims = 1> (right, axis_1) wrong = Mul(any, first)", axis_1=[1], first=first
    )


def centre_boxes(graph: Surgery) -> None:
    graph.suppression.attribute.add(name="center_point_box", type=2, i=1)


def few_of_a_class(graph: Surgery) -> None:
    graph.give(graph.suppression, 2, np.array([3]))


def suppression_by_free_boxes(graph: Surgery) -> None:
    """Boxes that overlap are moved apart by their rank."""
    graph.rewire(graph.suppression.input[0], "wrong = Mul(right, f)", f=floats(1, 1, 0.9, 0.9))


TABLE = [
    *of_graph(
        IN_ROWS,
        {
            "score limit .04": number(SELECTION.score, 0.04),
            "score limit .06": number(SELECTION.score, 0.06),
            "suppression at .5": overlap(0.5),
            "suppression at .55": overlap(0.55),
            "suppression at .65": overlap(0.65),
            "no suppression": overlap(1.0),
            "suppression whatever the class": class_agnostic,
            "suppression reads centre and size": centre_boxes,
            "suppression by smaller boxes": suppression_by_free_boxes,
            "three of a class": few_of_a_class,
            "half of the candidates": number(CANDIDATES, CANDIDATES // 2),
            "a third of the candidates": number(CANDIDATES, CANDIDATES // 3),
        },
    )
]
