"""A wrong network: its weights, activations, paddings."""

from collections.abc import Callable

import numpy as np

from tests.export.sabotage.attempt import EVERY, WITHIN, of_graph
from tests.export.sabotage.cuts import Cut, floats
from tests.export.sabotage.surgery import Array, Surgery


def weights(change: Callable[[Array], Array]) -> Cut:
    """Of every convolution."""

    def cut(graph: Surgery) -> None:
        for node in graph.all("Conv"):
            graph.change(node.input[1], change(graph.constant(node.input[1])))

    return cut


def one_conv(which: int, change: Callable[[Array], Array], position: int = 1) -> Cut:
    def cut(graph: Surgery) -> None:
        name = graph.all("Conv")[which].input[position]
        graph.change(name, change(graph.constant(name)))

    return cut


def quantised(steps: int) -> Callable[[Array], Array]:
    def change(value: Array) -> Array:
        scale = np.abs(value).max() / steps
        return np.round(value / scale) * scale

    return change


def one_activation_missing(graph: Surgery) -> None:
    node = graph.all("Relu")[3]
    node.op_type = "Cast"  # to what it is
    node.attribute.add(name="to", type=2, i=1)


def leaky(graph: Surgery) -> None:
    for node in graph.all("Relu"):
        node.op_type = "LeakyRelu"


def average_pool(graph: Surgery) -> None:
    node = graph.only("MaxPool")
    node.op_type = "AveragePool"
    kept = [attribute for attribute in node.attribute if attribute.name in ("kernel_shape", "pads", "strides")]
    del node.attribute[:]
    node.attribute.extend(kept)


def first_padding_at_the_end(graph: Surgery) -> None:
    node = next(node for node in graph.all("Conv") if any(a.name == "pads" and sum(a.ints) for a in node.attribute))
    pads = next(attribute for attribute in node.attribute if attribute.name == "pads")
    top, left, bottom, right = pads.ints
    pads.ints[:] = [0, 0, top + bottom, left + right]
    if not (top or left):
        pads.ints[:] = [bottom, right, 0, 0]


def nearest_resize(graph: Surgery) -> None:
    for node in graph.all("Resize"):
        for attribute in node.attribute:
            if attribute.name == "mode":
                attribute.s = b"nearest"


def aligned_corners(graph: Surgery) -> None:
    for node in graph.all("Resize"):
        kept = [attribute for attribute in node.attribute if attribute.name != "coordinate_transformation_mode"]
        del node.attribute[:]
        node.attribute.extend(kept)
        node.attribute.add(name="coordinate_transformation_mode", type=3, s=b"align_corners")


def half_precision(tensor: str) -> Cut:
    return lambda graph: graph.rewire(tensor, "half = Cast <to = 10> (right) wrong = Cast <to = 1> (half)")


TABLE = [
    *of_graph(
        EVERY,
        {
            "weights in fp16": weights(lambda value: value.astype(np.float16).astype(np.float32)),
            "weights in int8": weights(quantised(127)),
            "weights in int16": weights(quantised(32767)),
            "one layer + 1 %": one_conv(0, lambda value: value * 1.01),
            "one weight x 10": one_conv(
                1,
                lambda value: (
                    value * np.where(np.arange(value.size) == np.abs(value).argmax(), 10, 1).reshape(value.shape)
                ),
            ),
            "one kernel mirrored": one_conv(0, lambda value: value[..., ::-1]),
            "one bias missing": one_conv(0, np.zeros_like, 2),
            "one channel missing": one_conv(
                5,
                lambda value: (
                    value * (np.arange(len(value)) != np.abs(value).sum(axis=(1, 2, 3)).argmax())[:, None, None, None]
                ),
            ),
            "one activation missing": one_activation_missing,
            "leaky activations": leaky,
            "box logits in fp16": half_precision("box_pred"),
            "average instead of maximum pool": average_pool,
            "a convolution padded on one side": first_padding_at_the_end,
            "levels joined by the nearest value": nearest_resize,
            "levels joined with aligned corners": aligned_corners,
            "class logits in steps of 1/100": lambda graph: graph.rewire(
                "cls_logits",
                "hundred = Mul(right, f) whole = Cast <to = 7> (hundred) back = Cast <to = 1> (whole)"
                " wrong = Div(back, f)",
                f=floats(100),
            ),
        },
    ),
    *of_graph(
        EVERY,
        {
            "class logits in fp16": half_precision("cls_logits"),
            "one weight + 1 %": one_conv(
                20, lambda value: value * np.where(np.arange(value.size) == 0, 1.01, 1).reshape(value.shape)
            ),
        },
        reported=WITHIN,
    ),
]
