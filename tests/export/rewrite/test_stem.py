from itertools import product

import numpy as np
import pytest
from onnx import TensorProto

from nanogfl_export.rewrite.stem import activate_after_pooling, read_interleaved_pixels
from tests.thinned import each

from .conftest import Graph, assert_equal_outputs, assert_left_alone, operators, picture, run

MEAN = np.array([103.53, 116.28, 123.675], np.float32)


def pixels(height=10, width=14, batch="B", channels=3):
    return Graph(height, width, channels, batch=batch, kind=TensorProto.UINT8)


def centred(graph, perm=(0, 3, 1, 2), mean=None):
    """Transpose -> Cast -> Sub: the pixels less their mean."""
    cast = graph.add("Cast", graph.add("Transpose", "x", perm=list(perm)), to=TensorProto.FLOAT)
    return graph.add("Sub", cast, graph.constant(MEAN.reshape(1, 3, 1, 1) if mean is None else mean))


PADS = [(1, 1, 1, 1), (0, 0, 0, 0), (0, 1, 2, 0), (2, 0, 1, 3)]


@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "batch"), each([*product((3, 5), (1, 2), PADS, ("B", 1, 3))], 5), ids=str
)
def test_interleaved_pixels_are_read_as_they_lie(kernel, stride, pads, batch):
    graph = pixels(batch=batch)
    out = graph.conv(centred(graph), 3, 8, kernel, pads=pads, strides=[stride, stride])
    model = graph.model(graph.add("Relu", out))
    rewritten = read_interleaved_pixels(model)
    assert operators(rewritten) == {"Reshape": 1, "Cast": 1, "Sub": 1, "Conv": 1, "Relu": 1}
    # the same products, summed in another order
    assert_equal_outputs(model, rewritten, tolerance=1e-5, reference=batch == 3)


def test_strides_that_differ_two_channels_and_defaults_that_go_without_saying():
    graph = pixels(channels=2)
    mean = np.array([[[90.0]], [[7.0]]], np.float32)  # without a picture's axis
    first = graph.add("Conv", centred(graph, mean=mean), graph.weights(6, 2, 3, 5), strides=[1, 2])
    model = graph.model(first)
    rewritten = read_interleaved_pixels(model)
    assert "Transpose" not in operators(rewritten)
    assert_equal_outputs(model, rewritten)
    graph = pixels()
    model = graph.model(graph.add("Conv", centred(graph), graph.weights(6, 3, 3, 3)))
    rewritten = read_interleaved_pixels(model)
    assert "Transpose" not in operators(rewritten)
    assert_equal_outputs(model, rewritten)


@pytest.mark.parametrize(
    "kind",
    ["other perm", "no perm", "dilations", "auto_pad", "a mean a column", "computed mean", "computed weights",
     "grouped", "transposed is an output", "read twice", "centred is an output"],
)  # fmt: skip
def test_other_ways_in_stay(kind):
    graph, extra = pixels(10, 3), []  # as many columns as channels
    match kind:
        case "other perm":  # and mirrored at the diagonal: columns first
            out = graph.conv(centred(graph, perm=(0, 3, 2, 1)), 3, 8)
        case "no perm":
            turned = graph.add("Cast", graph.add("Transpose", "x"), to=TensorProto.FLOAT)
            out = graph.add("Sub", turned, graph.constant(MEAN.reshape(3, 1, 1)))
        case "dilations":
            out = graph.conv(centred(graph), 3, 8, pads=[2, 2, 2, 2], dilations=[2, 2])
        case "auto_pad":
            out = graph.add("Conv", centred(graph), graph.weights(8, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
        case "a mean a column":
            out = graph.conv(centred(graph, mean=MEAN), 3, 8)
        case "computed mean":
            cast = graph.add("Cast", graph.add("Transpose", "x", perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
            mean = graph.add("Exp", graph.constant(np.ones((1, 3, 1, 1), np.float32)))
            out = graph.conv(graph.add("Sub", cast, mean), 3, 8)
        case "computed weights":
            out = graph.add("Conv", centred(graph), graph.add("Sin", graph.weights(8, 3, 3, 3)))
        case "grouped":
            out = graph.conv(centred(graph), 3, 6, group=3)
        case "transposed is an output":
            turned = graph.add("Transpose", "x", perm=[0, 3, 1, 2])
            cast = graph.add("Cast", turned, to=TensorProto.FLOAT)
            extra.append(graph.add("Relu", cast))
            out = graph.conv(graph.add("Sub", cast, graph.constant(MEAN.reshape(1, 3, 1, 1))), 3, 8)
        case "read twice":
            shared = centred(graph)
            out = graph.conv(shared, 3, 8)
            extra.append(graph.add("Relu", shared))
        case "centred is an output":
            extra.append(centred(graph))
            out = graph.conv(extra[0], 3, 8)
    assert_left_alone(read_interleaved_pixels, graph.model(out, *extra))


# --- activation behind the pooling ----------------------------------------------------------------------------------

POOL = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}


@pytest.mark.parametrize("alpha", [{}, {"alpha": 0.1}, {"alpha": 0.0}, {"alpha": 1.5}], ids=str)
@pytest.mark.parametrize("pool", [POOL, {"kernel_shape": [2, 3], "ceil_mode": 1}], ids=str)
def test_the_activation_behind_the_pooling_is_equal_to_the_bit(alpha, pool):
    graph = Graph(24, 7, 10)
    activated = graph.add("LeakyRelu", "x", **alpha)
    model = graph.model(graph.add("MaxPool", activated, **pool))
    rewritten = activate_after_pooling(model)
    assert [node.op_type for node in rewritten.graph.node] == ["MaxPool", "Conv", "LeakyRelu"]
    value = picture(model)
    assert (value < 0).any()
    assert np.array_equal(run(model, value)[0], run(rewritten, value)[0])
    assert np.array_equal(run(model, -np.abs(value))[0], run(rewritten, -np.abs(value))[0])
    assert_equal_outputs(model, rewritten, tolerance=0, reference=True)


def test_behind_a_convolution_and_with_two_of_them():
    graph = Graph(3, 12, 20)
    x = graph.add("MaxPool", graph.add("LeakyRelu", graph.conv("x", 3, 24)), **POOL)
    model = graph.model(graph.add("MaxPool", graph.add("LeakyRelu", graph.conv(x, 24, 10)), **POOL))
    rewritten = activate_after_pooling(model)
    assert operators(rewritten) == {"Conv": 4, "MaxPool": 2, "LeakyRelu": 2}
    assert_equal_outputs(model, rewritten, tolerance=1e-6)


@pytest.mark.parametrize(
    "kind", ["Relu", "falls", "average", "read twice", "an output", "places", "a row instead of a picture"]
)
def test_other_activations_stay(kind):
    graph, extra = Graph(6, 7, 10), []
    if kind in ("average", "read twice", "an output", "places"):
        activated = graph.add("LeakyRelu", "x")
    match kind:
        case "Relu":
            out = graph.add("MaxPool", graph.add("Relu", "x"), **POOL)
        case "falls":
            out = graph.add("MaxPool", graph.add("LeakyRelu", "x", alpha=-0.1), **POOL)
        case "average":
            out = graph.add("AveragePool", activated, **POOL)
        case "read twice":
            out = graph.add("MaxPool", activated, **POOL)
            extra.append(graph.add("Exp", activated))
        case "an output":
            out = graph.add("MaxPool", activated, **POOL)
            extra.append(activated)
        case "places":
            out, places = graph.add("MaxPool", activated, count=2, **POOL)
            extra.append(graph.add("Cast", places, to=TensorProto.FLOAT))
        case "a row instead of a picture":
            row = graph.add("LeakyRelu", graph.reshape("x", -1, 6, 70))
            out = graph.add("MaxPool", row, kernel_shape=[2])
    assert_left_alone(activate_after_pooling, graph.model(out, *extra))
