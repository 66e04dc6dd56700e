"""A wrong decode: from logits to boxes and scores of all points."""

from collections.abc import Callable

import numpy as np

from tests.export.sabotage.attempt import EVERY, IN_ROWS, of_graph
from tests.export.sabotage.cuts import Cut, floats, outputs
from tests.export.sabotage.subject import CLASSES
from tests.export.sabotage.surgery import HW, Array, Surgery

STRIDES = (8, 16, 32, 64)
SIZES = [-(-HW[0] // stride) * -(-HW[1] // stride) for stride in STRIDES]
POINTS = sum(SIZES)


def of_points(tensor: str, order: Array) -> Cut:
    """Every point has what another one has."""
    return lambda graph: graph.rewire(tensor, "wrong = Gather <axis = 1> (right, order)", order=order)


def of_level(tensor: str, level: int, value: float, rank: int) -> Cut:
    """This much more in the points of one level."""
    more = np.repeat(np.where(np.arange(len(SIZES)) == level, value, 0), SIZES).astype(np.float32)
    return lambda graph: graph.rewire(tensor, "wrong = Add(right, more)", more=more.reshape(1, -1, *[1] * (rank - 2)))


def _is_place(value: Array) -> bool:
    """x y of every point, or x y stride."""
    if POINTS not in value.shape or value.shape[-1] not in (2, 3) or value.dtype != np.float32:
        return False
    columns = value.reshape(-1, value.shape[-1])
    return bool(columns[0, 0] == 4 and columns[0, 1] == 4)


def _is_stride(value: Array) -> bool:
    return (
        value.dtype == np.float32 and value.size == POINTS and bool(value.ravel()[0] == 8 and value.ravel()[-1] == 64)
    )


def _moved(value: Array, more: Array) -> Array:
    flat = value.reshape(POINTS, -1).copy()
    flat[:, :2] += more
    return flat.reshape(value.shape)


_OWN_STRIDE = np.repeat(STRIDES, SIZES).astype(np.float32)
_OTHER_STRIDE = np.repeat((16, 8, 32, 64), SIZES).astype(np.float32)


def half_a_cell(graph: Surgery) -> None:
    graph.change_all(_is_place, lambda value: _moved(value, _OWN_STRIDE[:, None] / 2))


def one_level_moved(graph: Surgery) -> None:
    graph.change_all(_is_place, lambda value: _moved(value, (_OWN_STRIDE[:, None] == 16) * 1.0))


def one_point_moved(graph: Surgery) -> None:
    graph.rewire(
        "box_pred",
        "wrong = Mul(right, f)",
        f=np.where(np.arange(POINTS) % 2, 1, 1.05).astype(np.float32).reshape(1, -1, 1, 1),
    )


def strides_swapped(graph: Surgery) -> None:
    """In the columns of the places, or in the factors of their own."""

    def swap(value: Array) -> Array:
        if _is_stride(value):
            return _OTHER_STRIDE.reshape(value.shape)
        flat = value.reshape(POINTS, -1).copy()
        flat[:, 2] = _OTHER_STRIDE
        return flat.reshape(value.shape)

    graph.change_all(lambda value: _is_stride(value) or (_is_place(value) and value.shape[-1] == 3), swap)


def bins_plus_one(graph: Surgery) -> None:
    for name, value in graph.bins().items():
        if value.dtype == np.float32:
            graph.change(name, value + 1)


def bins_scaled(graph: Surgery) -> None:
    for name, value in graph.bins().items():
        if value.dtype == np.float32:
            graph.change(name, value * np.float32(1.01))


def softmax_over_sides(graph: Surgery) -> None:
    for node in graph.all("Softmax"):
        del node.attribute[:]
        node.attribute.add(name="axis", type=2, i=-2)


def other_activation(graph: Surgery) -> None:
    for node in graph.all("Sigmoid"):
        node.op_type = "HardSigmoid"


def sigmoid_twice(graph: Surgery) -> None:
    graph.rewire("scores", "wrong = Sigmoid(right)")


def _is_limit(value: Array) -> bool:
    return value.size == 4 and value.ravel().tolist() == [HW[1], HW[0], HW[1], HW[0]]


def limit(change: Callable[[Array], Array]) -> Cut:
    return lambda graph: graph.change_all(_is_limit, change)


TABLE = [
    *of_graph(
        EVERY,
        {
            "half a cell off": half_a_cell,
            "one level 1 px off": one_level_moved,
            "strides of two levels swapped": strides_swapped,
            "bins + 1": bins_plus_one,
            "bins x 1.01": bins_scaled,
            "softmax over the sides": softmax_over_sides,
            "box sides swapped": lambda graph: graph.rewire(
                "box_pred", "wrong = Gather <axis = 2> (right, order)", order=[2, 1, 0, 3]
            ),
            "box logits of the next point": of_points("box_pred", np.roll(np.arange(POINTS), 1)),
            "box logits of every other point x 1.05": one_point_moved,
            "class logits of the next point": of_points("cls_logits", np.roll(np.arange(POINTS), 1)),
            "two classes' logits swapped": lambda graph: graph.rewire(
                "cls_logits", "wrong = Gather <axis = 2> (right, order)", order=[1, 0, *range(2, len(CLASSES))]
            ),
            "a level dropped": of_level("cls_logits", 1, -50, 3),
            "a level's logits + .02": of_level("cls_logits", 0, 0.02, 3),
            "one class's logits + .02": lambda graph: graph.rewire(
                "cls_logits", "wrong = Add(right, f)", f=floats(0, 0.02, 0)
            ),
        },
    ),
    *of_graph(
        IN_ROWS,
        {
            "hard sigmoid": other_activation,
            "boxes not clipped": limit(lambda value: value * 100),
            "boxes clipped 1 px early": limit(lambda value: value - 1),
            "boxes clipped for H x W turned": limit(lambda value: value[..., [1, 0, 3, 2]]),
        },
    ),
    *of_graph(
        ("raw",),
        {
            "sigmoid twice": sigmoid_twice,
            "one class's column x .99": outputs("scores = Mul(right_scores, f)", f=floats(1, 0.99, 1)),
            "raw boxes clipped": outputs("boxes = Max(right_boxes, f)", f=floats(2)),
            "raw boxes of one point off": outputs(
                "boxes = Add(right_boxes, f)", f=floats(*(np.arange(POINTS) == 5) * 0.2).reshape(1, -1, 1)
            ),
        },
    ),
]
