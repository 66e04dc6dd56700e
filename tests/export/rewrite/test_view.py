import numpy as np
import onnx
import pytest
from onnx import helper, parser

from nanogfl_export.rewrite.view import GraphView, attributes, with_inputs

from .conftest import Graph, assert_equal_outputs


def names(model):
    return [node.output[0] for node in model.graph.node]


def test_only_reader_is_the_one_of_that_kind():
    graph = Graph(3, 4, 6)
    once, twice, same, output = (graph.add("Relu", "x") for _ in range(4))
    exp = graph.add("Exp", once)
    outputs = [exp, graph.add("Exp", twice), graph.add("Abs", twice), graph.add("Mul", same, same)]
    view = GraphView(graph.model(*outputs, output, graph.add("Exp", output)))
    assert view.only_reader(once, "Exp").output[0] == exp
    assert view.only_reader(once, "Abs") is None
    assert view.only_reader(twice, "Exp") is None
    assert view.only_reader(same, "Mul") is None  # it reads the tensor twice
    assert view.only_reader(output, "Exp") is None
    assert view.only_reader(exp, "Exp") is None  # nobody does


def test_shapes_have_a_zero_where_a_size_is_free():
    graph = Graph(3, 4, 6)
    pooled = graph.add("MaxPool", graph.conv("x", 3, 5), kernel_shape=[2, 2], strides=[2, 2])
    view = GraphView(graph.model(pooled))
    assert view.shape("x") == (0, 3, 4, 6)
    assert view.shape(pooled) == (0, 5, 2, 3)
    assert view.shape("unheard of") == ()


def test_the_model_that_came_in_is_not_touched():
    graph = Graph(3, 4, 6)
    model = graph.model(graph.conv("x", 3, 5))
    before = model.SerializeToString(deterministic=True)
    view = GraphView(model)
    view.graph.node[0].input[0] = "y"
    view.finish([])
    assert model.SerializeToString(deterministic=True) == before


def test_finish_puts_nodes_behind_what_they_read_and_drops_what_nothing_reads():
    graph = Graph(3, 4, 6)
    first = graph.conv("x", 3, 5)
    left, right = graph.add("Relu", first), graph.add("Exp", first)
    graph.conv(left, 5, 7)  # for nobody
    total = graph.add("Add", left, right)
    model = graph.model(total, right)
    finished = GraphView(model).finish(reversed(list(model.graph.node)))
    assert sorted(names(finished)) == sorted([first, left, right, total])
    assert names(finished)[0] == first
    assert names(finished).index(total) == 3 or names(finished).index(total) > names(finished).index(left)
    assert len(finished.graph.initializer) == 2
    assert [value.name for value in finished.graph.output] == [total, right]
    assert_equal_outputs(model, finished, tolerance=0)


def test_finish_keeps_an_order_that_works():
    graph = Graph(3, 4, 6)
    x = "x"
    for op_type in ("Relu", "Exp", "Neg", "Abs", "Tanh"):
        x = graph.add(op_type, x)
    model = graph.model(x)
    assert names(GraphView(model).finish()) == names(model)


def test_finish_replaces_a_constant_and_adds_others():
    graph = Graph(3, 4, 6)
    one = graph.constant(np.float32([1]))
    model = graph.model(graph.add("Add", "x", one))
    view = GraphView(model)
    nodes = [helper.make_node("Add", ["x", one], ["more"]), helper.make_node("Mul", ["more", "two"], ["add0"])]
    finished = view.finish(nodes, {one: np.float32([5]), "two": np.float32([2]), "unread": np.float32([9])})
    values = {t.name: onnx.numpy_helper.to_array(t).tolist() for t in finished.graph.initializer}
    assert values == {one: [5.0], "two": [2.0]}


def test_with_inputs_changes_what_it_is_told_and_nothing_else():
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="n", group=2, strides=[2, 1], pads=[0, 1, 2, 3])
    changed = with_inputs(node, ["z", "w"], group=1)
    assert (list(changed.input), list(changed.output), changed.name) == (["z", "w"], ["y"], "n")
    assert attributes(changed) == {"group": 1, "strides": [2, 1], "pads": [0, 1, 2, 3]}
    assert attributes(node)["group"] == 2


def test_a_graph_that_waits_for_itself_is_an_error_and_no_endless_loop():
    graph = Graph(3, 4, 4)
    view = GraphView(graph.model(graph.add("Relu", graph.conv("x", 3, 4))))
    first, last = view.graph.node
    first.input[0] = last.output[0]
    with pytest.raises(AssertionError, match="waits for itself"):
        view.finish()


def test_a_scalar_constant_stays_one():
    model = parser.parse_model("""
    <ir_version: 10, opset_import: ["": 18]>
    g (float[2, 3] x) => (float[2] y) <int64 first = {0}> { y = Gather <axis = 1> (x, first) }
    """)
    finished = GraphView(model).finish()
    assert list(finished.graph.initializer[0].dims) == []
    onnx.checker.check_model(finished, full_check=True)
