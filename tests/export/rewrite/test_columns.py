import numpy as np
import pytest

from nanogfl_export.rewrite.columns import multiply_by_columns

from .conftest import Graph, assert_equal_outputs, assert_left_alone, operators

BINS = np.arange(8, dtype=np.float32)


@pytest.mark.parametrize("batch", ["B", 1, 3])
@pytest.mark.parametrize("shape", [(8,), (5, 8), (5, 4, 8), ("rows", 4, 8)], ids=str)
def test_a_product_with_a_vector_becomes_one_with_a_column(batch, shape):
    graph = Graph(*shape, batch=batch)
    model = graph.model(graph.add("Relu", graph.add("MatMul", "x", graph.constant(BINS))))
    rewritten = multiply_by_columns(model)
    assert operators(rewritten) == {"MatMul": 1, "Reshape": 1, "Relu": 1}
    assert all(list(t.dims) != [8] for t in rewritten.graph.initializer)
    assert_equal_outputs(model, rewritten, tolerance=1e-6, reference=True)  # the sum may run in another order


def test_the_same_vector_twice():
    graph = Graph(5, 4, 8)
    bins = graph.constant(BINS)
    mean = graph.add("MatMul", "x", bins)
    model = graph.model(mean, graph.add("MatMul", graph.add("Mul", "x", "x"), bins))
    rewritten = multiply_by_columns(model)
    assert operators(rewritten) == {"MatMul": 2, "Reshape": 2, "Mul": 1}
    assert_equal_outputs(model, rewritten, tolerance=1e-6)


def test_other_products_stay():
    graph = Graph(4, 8)
    matrix = graph.add("MatMul", "x", graph.weights(8, 3))
    column = graph.add("MatMul", "x", graph.weights(8, 1))
    computed = graph.add("MatMul", "x", graph.add("Exp", graph.weights(8)))
    first = graph.add("MatMul", graph.weights(4), "x")
    without_inputs = graph.add("RandomUniform", shape=[3], low=1.0, high=1.0)
    of_vectors = graph.add("MatMul", graph.add("Exp", graph.constant(BINS)), graph.constant(BINS))
    model = graph.model(matrix, column, computed, first, graph.add("Mul", without_inputs, of_vectors))
    assert_left_alone(multiply_by_columns, model)
