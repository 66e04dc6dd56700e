import numpy as np
import pytest

from nanogfl_export.rewrite.fold import fold_batch_norm, fold_input_scale

from .conftest import Graph, assert_equal_outputs, assert_left_alone, operators


def norm(graph, x, count, **settings):
    """Statistics of all sizes: a factor between 0.1 and 10."""
    scale, shift, mean = (graph.random.normal(1, 0.5, count).astype(np.float32) for _ in range(3))
    variance = graph.random.uniform(0.05, 4, count).astype(np.float32)
    inputs = [graph.constant(value) for value in (scale, shift, mean, variance)]
    return graph.add("BatchNormalization", x, *inputs, **settings)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("settings", [{}, {"group": 6}, {"group": 2, "strides": [2, 1], "dilations": [1, 2]}], ids=str)
@pytest.mark.parametrize("epsilon", [{}, {"epsilon": 0.1}], ids=str)
def test_norms_behind_convolutions_are_gone(bias, settings, epsilon):
    graph = Graph(6, 5, 8)
    first = norm(graph, graph.conv("x", 6, 6, bias=bias, **settings), 6, **epsilon)
    model = graph.model(norm(graph, graph.conv(graph.add("Relu", first), 6, 4, 1), 4, **epsilon))
    rewritten = fold_batch_norm(model)
    assert operators(rewritten) == {"Conv": 2, "Relu": 1}
    # scales are multiplied into the weights before the sum instead of behind it
    assert_equal_outputs(model, rewritten, tolerance=1e-5, reference=True)


def test_weights_that_two_convolutions_share_are_folded_for_each():
    graph = Graph(4, 5, 8)
    weight, bias = graph.weights(4, 4, 1, 1), graph.weights(4)
    first = norm(graph, graph.add("Conv", "x", weight, bias), 4)
    model = graph.model(norm(graph, graph.add("Conv", first, weight, bias), 4), graph.add("Conv", first, weight, bias))
    rewritten = fold_batch_norm(model)
    assert operators(rewritten) == {"Conv": 3}
    assert_equal_outputs(model, rewritten)


def test_a_norm_of_a_convolution_that_others_read_or_get_stays():
    graph = Graph(4, 5, 8)
    read_twice, output = graph.conv("x", 4, 6), graph.conv("x", 4, 6)
    total = graph.add("Add", norm(graph, read_twice, 6), read_twice)
    assert_left_alone(fold_batch_norm, graph.model(total, norm(graph, output, 6), output, norm(graph, "x", 4)))


def test_a_norm_whose_statistics_are_computed_stays():
    graph = Graph(4, 5, 8)
    ones = graph.constant(np.ones(6, np.float32))
    computed = graph.add("Exp", graph.weights(6))
    model = graph.model(graph.add("BatchNormalization", graph.conv("x", 4, 6), ones, ones, computed, ones))
    assert_left_alone(fold_batch_norm, model)


# --- the input's scale ----------------------------------------------------------------------------------------------

STD = np.array([57.375, 57.12, 58.395], np.float32).reshape(1, 3, 1, 1)


def scaled(graph, scale=STD):
    return graph.add("Div", "x", graph.constant(scale))


@pytest.mark.parametrize("bias", [True, False])
def test_the_scale_goes_into_the_weights(bias):
    graph = Graph(3, 5, 8)
    model = graph.model(graph.conv(scaled(graph), 3, 6, bias=bias, strides=[2, 2]))
    rewritten = fold_input_scale(model)
    assert operators(rewritten) == {"Conv": 1}
    assert_equal_outputs(model, rewritten, tolerance=1e-6, reference=True)


@pytest.mark.parametrize("kind", ["a scale a column", "one scale", "grouped", "computed", "read twice", "an output"])
def test_other_divisions_stay(kind):
    graph = Graph(3, 5, 3)  # as many columns as channels
    match kind:
        case "a scale a column":
            outputs = [graph.conv(scaled(graph, STD.reshape(3)), 3, 6)]
        case "one scale":
            outputs = [graph.conv(scaled(graph, np.float32([[[[2.0]]]])), 3, 6)]
        case "grouped":
            outputs = [graph.conv(scaled(graph), 3, 6, group=3)]
        case "computed":
            outputs = [graph.conv(graph.add("Div", "x", graph.add("Exp", graph.constant(STD / 50))), 3, 6)]
        case "read twice":
            divided = scaled(graph)
            outputs = [graph.conv(divided, 3, 6), graph.add("Relu", divided)]
        case "an output":
            divided = scaled(graph)
            outputs = [graph.conv(divided, 3, 6), divided]
    assert_left_alone(fold_input_scale, graph.model(*outputs))
