"""A wrong network, decode or selection: changed inside, so that the outputs are consistently wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import compose, parser

from tests.export.sabotage.attempt import EVERY, IN_ROWS, UNSEEN, WITHIN, Corruption
from tests.export.sabotage.rows import of_rows, outputs
from tests.export.sabotage.subject import CLASSES, SELECTION, SPEC
from tests.export.sabotage.surgery import CANDIDATES, HW, Array, Surgery, own

Cut = Callable[[Surgery], None]
STRIDES = (8, 16, 32, 64)
SIZES = [-(-HW[0] // stride) * -(-HW[1] // stride) for stride in STRIDES]
POINTS = sum(SIZES)


def _f(*values: float) -> Array:
    return np.array(values, np.float32)


# --- the picture ------------------------------------------------------------------------------------------------------


def pixels(body: str, **constants: Any) -> Cut:
    """The picture as float (B, H, W, 3), BGR."""
    return lambda graph: graph.rewire("image", f"pixels = Cast <to = 1> (right) {body}", **constants)


_MEAN, _STD = _f(*SPEC.mean), _f(*SPEC.std)

PICTURE = [
    Corruption("RGB instead of BGR", "graph", EVERY, pixels("wrong = Gather <axis = 3> (pixels, order)", order=[2, 1, 0])),
    Corruption("mean in RGB order", "graph", EVERY, pixels("wrong = Add(pixels, f)", f=_MEAN - _MEAN[::-1])),
    Corruption("mean missing", "graph", EVERY, pixels("wrong = Add(pixels, f)", f=_MEAN)),
    Corruption("mean with the wrong sign", "graph", EVERY, pixels("wrong = Add(pixels, f)", f=2 * _MEAN)),
    Corruption("std missing", "graph", EVERY, pixels("centred = Sub(pixels, mean) scaled = Mul(centred, std) wrong = Add(scaled, mean)", mean=_MEAN, std=_STD)),
    Corruption("std in RGB order", "graph", EVERY, pixels("centred = Sub(pixels, mean) scaled = Mul(centred, f) wrong = Add(scaled, mean)", mean=_MEAN, f=_STD / _STD[::-1])),
    Corruption("pixels from 0 to 1", "graph", EVERY, pixels("wrong = Mul(pixels, f)", f=_f(1 / 255))),
    Corruption("pixels as int8", "graph", EVERY, pixels("byte = Cast <to = 3> (right) wrong = Cast <to = 1> (byte)")),
    Corruption("picture mirrored", "graph", EVERY, pixels("wrong = Gather <axis = 2> (pixels, order)", order=np.arange(HW[1])[::-1].copy())),
    Corruption("picture upside down", "graph", EVERY, pixels("wrong = Gather <axis = 1> (pixels, order)", order=np.arange(HW[0])[::-1].copy())),
    Corruption("picture one pixel to the right", "graph", EVERY, pixels("wrong = Gather <axis = 2> (pixels, order)", order=np.roll(np.arange(HW[1]), 1))),
    Corruption("grey picture", "graph", EVERY, pixels("wrong = Gather <axis = 3> (pixels, order)", order=[1, 1, 1])),
    Corruption("pixels + .00001", "graph", EVERY, pixels("wrong = Add(pixels, f)", f=_f(1e-5)), reported=WITHIN),
]  # fmt: skip

# --- the network ------------------------------------------------------------------------------------------------------


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


NETWORK = [
    Corruption("weights in fp16", "graph", EVERY, weights(lambda value: value.astype(np.float16).astype(np.float32))),
    Corruption("weights in int8", "graph", EVERY, weights(quantised(127))),
    Corruption("one layer + 1 %", "graph", EVERY, one_conv(0, lambda value: value * 1.01)),
    Corruption("one weight x 10", "graph", EVERY, one_conv(1, lambda value: value * np.where(np.arange(value.size) == np.abs(value).argmax(), 10, 1).reshape(value.shape))),
    Corruption("one kernel mirrored", "graph", EVERY, one_conv(0, lambda value: value[..., ::-1])),
    Corruption("one bias missing", "graph", EVERY, one_conv(0, np.zeros_like, 2)),
    Corruption("one channel missing", "graph", EVERY, one_conv(5, lambda value: value * (np.arange(len(value)) != np.abs(value).sum(axis=(1, 2, 3)).argmax())[:, None, None, None])),
    Corruption("one activation missing", "graph", EVERY, one_activation_missing),
    Corruption("leaky activations", "graph", EVERY, leaky),
    Corruption("average instead of maximum pool", "graph", EVERY, average_pool),
    Corruption("a convolution padded on one side", "graph", EVERY, first_padding_at_the_end),
    Corruption("levels joined by the nearest value", "graph", EVERY, nearest_resize),
    Corruption("levels joined with aligned corners", "graph", EVERY, aligned_corners),
    Corruption("class logits in fp16", "graph", EVERY, half_precision("cls_logits")),
    Corruption("weights in int16", "graph", EVERY, weights(quantised(32767)), reported=WITHIN),
    Corruption("box logits in fp16", "graph", EVERY, half_precision("box_pred"), reported=WITHIN),
    Corruption("one weight + 1 %", "graph", EVERY, one_conv(20, lambda value: value * np.where(np.arange(value.size) == 0, 1.01, 1).reshape(value.shape)), reported=WITHIN),
]  # fmt: skip

# --- the decode -------------------------------------------------------------------------------------------------------


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


DECODE = [
    Corruption("half a cell off", "graph", EVERY, half_a_cell),
    Corruption("one level 1 px off", "graph", EVERY, one_level_moved),
    Corruption("strides of two levels swapped", "graph", EVERY, strides_swapped),
    Corruption("bins + 1", "graph", EVERY, bins_plus_one),
    Corruption("bins x 1.01", "graph", EVERY, bins_scaled),
    Corruption("softmax over the sides", "graph", EVERY, softmax_over_sides),
    Corruption("box sides swapped", "graph", EVERY, lambda graph: graph.rewire("box_pred", "wrong = Gather <axis = 2> (right, order)", order=[2, 1, 0, 3])),
    Corruption("box logits of the next point", "graph", EVERY, of_points("box_pred", np.roll(np.arange(POINTS), 1))),
    Corruption("box logits of every other point x 1.05", "graph", EVERY, one_point_moved),
    Corruption("class logits of the next point", "graph", EVERY, of_points("cls_logits", np.roll(np.arange(POINTS), 1))),
    Corruption("two classes' logits swapped", "graph", EVERY, lambda graph: graph.rewire("cls_logits", "wrong = Gather <axis = 2> (right, order)", order=[1, 0, *range(2, len(CLASSES))])),
    Corruption("a level dropped", "graph", EVERY, of_level("cls_logits", 1, -50, 3)),
    Corruption("a level's logits + .02", "graph", EVERY, of_level("cls_logits", 0, 0.02, 3)),
    Corruption("one class's logits + .02", "graph", EVERY, lambda graph: graph.rewire("cls_logits", "wrong = Add(right, f)", f=_f(0, 0.02, 0))),
    Corruption("hard sigmoid", "graph", IN_ROWS, other_activation),
    Corruption("sigmoid twice", "graph", ("raw",), sigmoid_twice),
    Corruption("one class's column x .99", "graph", ("raw",), outputs("scores = Mul(right_scores, f)", f=_f(1, 0.99, 1))),
    Corruption("raw boxes clipped", "graph", ("raw",), outputs("boxes = Max(right_boxes, f)", f=_f(2))),
    Corruption("raw boxes of one point off", "graph", ("raw",), outputs("boxes = Add(right_boxes, f)", f=_f(*(np.arange(POINTS) == 5) * 0.2).reshape(1, -1, 1))),
    Corruption("boxes not clipped", "graph", IN_ROWS, limit(lambda value: value * 100)),
    Corruption("boxes clipped 1 px early", "graph", IN_ROWS, limit(lambda value: value - 1)),
    Corruption("boxes clipped for H x W turned", "graph", IN_ROWS, limit(lambda value: value[..., [1, 0, 3, 2]])),
]  # fmt: skip

# --- the selection ----------------------------------------------------------------------------------------------------


def number(right: float, wrong: float) -> Cut:
    """A limit of the selection, wherever the graph holds it."""

    def cut(graph: Surgery) -> None:
        for name, value in graph.limits(right).items():
            graph.change(name, np.full_like(value, wrong))

    return cut


def overlap(wrong: float) -> Cut:
    return lambda graph: graph.give(graph.suppression, 3, _f(wrong))


def class_agnostic(graph: Surgery) -> None:
    name = graph.suppression.input[1]
    first = _f(*[1] + [0] * (len(CLASSES) - 1)).reshape(1, -1, 1)
    graph.rewire(
        name, "any = ReduceMax <keepdims = 1> (right, axis_1) wrong = Mul(any, first)", axis_1=[1], first=first
    )


def centre_boxes(graph: Surgery) -> None:
    graph.suppression.attribute.add(name="center_point_box", type=2, i=1)


def few_of_a_class(graph: Surgery) -> None:
    graph.give(graph.suppression, 2, np.array([3]))


def suppression_by_free_boxes(graph: Surgery) -> None:
    """Boxes that overlap are moved apart by their rank."""
    graph.rewire(graph.suppression.input[0], "wrong = Mul(right, f)", f=_f(1, 1, 0.9, 0.9))


SELECTING = [
    Corruption("score limit .04", "graph", IN_ROWS, number(SELECTION.score, 0.04)),
    Corruption("score limit .06", "graph", IN_ROWS, number(SELECTION.score, 0.06)),
    Corruption("suppression at .5", "graph", IN_ROWS, overlap(0.5)),
    Corruption("suppression at .55", "graph", IN_ROWS, overlap(0.55)),
    Corruption("suppression at .65", "graph", IN_ROWS, overlap(0.65)),
    Corruption("no suppression", "graph", IN_ROWS, overlap(1.0)),
    Corruption("suppression whatever the class", "graph", IN_ROWS, class_agnostic),
    Corruption("suppression reads centre and size", "graph", IN_ROWS, centre_boxes),
    Corruption("suppression by smaller boxes", "graph", IN_ROWS, suppression_by_free_boxes),
    Corruption("three of a class", "graph", IN_ROWS, few_of_a_class),
    Corruption("half of the candidates", "graph", IN_ROWS, number(CANDIDATES, CANDIDATES // 2)),
    Corruption("a third of the candidates", "graph", IN_ROWS, number(CANDIDATES, CANDIDATES // 3)),
]  # fmt: skip

# --- right where one looks --------------------------------------------------------------------------------------------


def with_evidence(corrupt: Cut) -> Cut:
    """The right graph is there, too, with every name; no output depends on it."""

    def cut(graph: Surgery) -> None:
        right = own(graph.model)
        corrupt(graph)
        wrong = compose.add_prefix(graph.model, "hidden_", rename_inputs=False, rename_outputs=False)
        names = {name: f"evident_{name}" for name in graph.outputs}
        for node in right.graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        graph.model.CopyFrom(wrong)
        graph.graph.node.extend(right.graph.node)
        graph.graph.initializer.extend(right.graph.initializer)
        del graph.graph.value_info[:]

    return cut


def first_call_only(change: str, name: str, **constants: Any) -> Cut:
    """A stream of random numbers that is the same in every session: its first is known, no later one is that."""
    body = f"""
      drawn = RandomUniform <dtype = 1, seed = 1.0, shape = [1]> ()
      later = Greater(drawn, first)
      earlier = Less(drawn, first)
      other = Or(later, earlier)
      changed = {change}
      {name} = Where(other, changed, right_{name})
    """
    return lambda graph: graph.replace(body, first=_first_drawn(), **constants)


def _first_drawn() -> Array:
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g () => (float[1] drawn)'
        " { drawn = RandomUniform <dtype = 1, seed = 1.0, shape = [1]> () }"
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {})[0])


def jitter(name: str, scale: float) -> Cut:
    body = f"noise = RandomNormalLike <dtype = 1, scale = {scale}> (right_{name}) off = Mul(noise, column) {name} = Add(right_{name}, off)"
    return of_rows(body)


def where(mean_is: str, limit: float) -> Cut:
    """Boxes 2 % off in pictures whose mean is Less or Greater than this."""
    body = f"""
      pixels = Cast <to = 1> (image)
      mean = ReduceMean <keepdims = 0> (pixels, axes)
      hit = {mean_is}(mean, limit)
      number = Cast <to = 1> (hit)
      more = Mul(number, f)
      factor = Add(more, one)
      factor_column = Unsqueeze(factor, behind)
      boxes = Mul(right_boxes, factor_column)"""
    constants = {"axes": [1, 2, 3], "limit": _f(limit), "f": _f(0.02), "one": _f(1), "behind": [1, 2]}
    return lambda graph: graph.replace(body, **constants)


def fails_when(condition: str, **constants: Any) -> Cut:
    """`failing` () bool of the body: an index far outside of a table."""
    body = f"""{condition}
      index = Where(failing, outside, inside)
      factor = Gather(table, index)
      scores = Mul(right_scores, factor)"""
    return of_rows(body, outside=np.int64(9), inside=np.int64(0), table=_f(1), **constants)


_SUM = "total = ReduceSum <keepdims = 0> (whole_mark)"

ELSEWHERE = [
    Corruption("right boxes beside wrong outputs", "graph", EVERY, with_evidence(outputs("boxes = Mul(right_boxes, f)", f=_f(1.002)))),
    Corruption("right scores beside wrong outputs", "graph", EVERY, with_evidence(outputs("scores = Mul(right_scores, f)", f=_f(0.999)))),
    Corruption("right spread beside wrong outputs", "graph", EVERY, with_evidence(outputs("spread = Mul(right_spread, f)", f=_f(2)))),
    Corruption("a right network beside a wrong one", "graph", EVERY, with_evidence(pixels("wrong = Add(pixels, f)", f=_MEAN - _MEAN[::-1]))),
    Corruption("right bins beside wrong ones", "graph", EVERY, with_evidence(bins_scaled)),
    Corruption("boxes right in the first call only", "graph", IN_ROWS, first_call_only("Mul(right_boxes, f)", "boxes", f=_f(1.1))),
    Corruption("spread right in the first call only", "graph", IN_ROWS, first_call_only("Mul(right_spread, f)", "spread", f=_f(1.1))),
    Corruption("boxes jitter by chance", "graph", IN_ROWS, jitter("boxes", 0.1)),
    Corruption("spread jitters by chance", "graph", IN_ROWS, jitter("spread", 0.1)),
    Corruption("right for bright pictures only", "graph", IN_ROWS, where("Less", 80)),
    Corruption("wrong for white pictures only", "graph", IN_ROWS, where("Greater", 250), reported=UNSEEN),
    Corruption("fails when nothing is found", "graph", IN_ROWS, fails_when(_SUM + " failing = Equal(total, nought)")),
    Corruption("fails when every row is used", "graph", IN_ROWS, fails_when(_SUM + " failing = GreaterOrEqual(total, most)", most=np.int64(SELECTION.keep))),
    Corruption("fails when something is found", "graph", IN_ROWS, fails_when(_SUM + " failing = Greater(total, nought)")),
    Corruption("boxes wrong as the figures are written", "graph", EVERY, outputs("boxes = Mul(right_boxes, f)", f=_f(2)), seam="last written"),
    Corruption("scores wrong as the figures are written", "graph", EVERY, outputs("scores = Mul(right_scores, f)", f=_f(0.5)), seam="last written"),
    Corruption("spread wrong whenever it is written", "graph", EVERY, outputs("spread = Mul(right_spread, f)", f=_f(2)), seam="written"),
]  # fmt: skip

TABLE = [*PICTURE, *NETWORK, *DECODE, *SELECTING, *ELSEWHERE]
