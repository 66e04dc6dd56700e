import numpy as np
import pytest

from nanogfl_export.rewrite.levels import write_levels_in_place

from .conftest import Graph, assert_equal_outputs, assert_left_alone, operators

SIZES = [(6, 8), (3, 4), (2, 2)]  # H, W of the levels
CLASSES, SIDES = 3, 8
ALL = CLASSES + SIDES


def levels(graph, **settings):
    """(B, A, h, w) of each level."""
    for height, width in SIZES:
        start = graph.add("Resize", "x", "", graph.constant(np.float32([1, 1, height / 6, width / 8])), mode="linear")
        yield graph.conv(start, 4, ALL, **settings), height, width


def joined(graph, **settings):
    flat = [graph.reshape(conv, -1, ALL, height * width) for conv, height, width in levels(graph, **settings)]
    return graph.add("Concat", *flat, axis=2)


def points(graph, **settings):
    """(B, N, A) of all levels"""
    return graph.add("Transpose", joined(graph, **settings), perm=[0, 2, 1])


@pytest.mark.parametrize("batch", ["B", 1, 2])
def test_levels_are_written_where_they_end(batch):
    graph = Graph(4, 6, 8, batch=batch)
    logits, sides = graph.split(points(graph), CLASSES, SIDES, axis=2)
    model = graph.model(logits, graph.reshape(sides, -1, sum(h * w for h, w in SIZES), 4, SIDES // 4))
    rewritten = write_levels_in_place(model)
    assert operators(rewritten) == {"Resize": 3, "Conv": 6, "Transpose": 6, "Reshape": 7, "Concat": 2}
    # a convolution of fewer filters may sum in another order
    assert_equal_outputs(model, rewritten, tolerance=1e-6, reference=True)


def test_three_parts_and_whoever_else_reads_the_points():
    graph = Graph(4, 6, 8)
    rows = points(graph)
    parts = graph.split(rows, 3, 3, 5, axis=2)
    model = graph.model(*parts, graph.add("Relu", rows))
    assert_equal_outputs(model, write_levels_in_place(model), tolerance=1e-6)


def test_names_of_other_tensors_are_not_taken():
    """torch counts: with three classes, conv2d_3 may be another convolution than a part of conv2d."""
    graph = Graph(4, 6, 8)
    model = graph.model(*graph.split(points(graph), CLASSES, SIDES, axis=2))
    first, other = (next(n.output[0] for n in model.graph.node if n.op_type == kind) for kind in ("Conv", "Resize"))
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{first}_{CLASSES}" if name == other else name for name in names]
    assert_equal_outputs(model, write_levels_in_place(model), tolerance=1e-6)


@pytest.mark.parametrize(
    "kind",
    ["a level read twice", "a level is an output", "joined at channels", "another order", "no transpose",
     "split at points", "grouped", "no bias", "computed weights", "sizes computed", "rows mixed"],
)  # fmt: skip
def test_other_ways_out_stay(kind):
    graph, extra, axis = Graph(4, 6, 8), [], 2
    match kind:
        case "a level read twice" | "a level is an output":
            convs = list(levels(graph))
            extra = [graph.add("Relu", convs[1][0]) if kind == "a level read twice" else convs[1][0]]
            flat = [graph.reshape(conv, -1, ALL, height * width) for conv, height, width in convs]
            rows = graph.add("Transpose", graph.add("Concat", *flat, axis=2), perm=[0, 2, 1])
        case "joined at channels":
            flat = [graph.reshape(conv, -1, ALL, height * width) for conv, height, width in levels(graph)]
            same = [graph.add("Slice", name, *(graph.constant(np.array([n])) for n in (0, 4, 2))) for name in flat]
            rows = graph.add("Transpose", graph.add("Concat", *same, axis=1), perm=[0, 2, 1])
        case "another order":
            rows, axis = graph.add("Transpose", joined(graph), perm=[2, 0, 1]), 2
        case "no transpose":
            rows, axis = joined(graph), 1
        case "split at points":
            rows, axis = points(graph), 1
        case "grouped":
            convs = [(graph.conv(conv, ALL, ALL, group=ALL), *hw) for conv, *hw in levels(graph)]
            flat = [graph.reshape(conv, -1, ALL, height * width) for conv, height, width in convs]
            rows = graph.add("Transpose", graph.add("Concat", *flat, axis=2), perm=[0, 2, 1])
        case "no bias":
            rows = points(graph, bias=False)
        case "computed weights":
            conv = graph.add("Conv", "x", graph.add("Sin", graph.weights(ALL, 4, 1, 1)), graph.weights(ALL))
            flat = graph.add("Concat", graph.reshape(conv, -1, ALL, 48), axis=2)
            rows = graph.add("Transpose", flat, perm=[0, 2, 1])
        case "sizes computed":
            sizes = graph.add("Abs", graph.constant(np.array([CLASSES, SIDES])))
            parts = graph.add("Split", points(graph), sizes, count=2, axis=2)
            flat = [graph.reshape(part, -1) for part in parts]
            return assert_left_alone(write_levels_in_place, graph.model(*flat))
        case "rows mixed":  # half of the filters, each with two points' numbers
            convs = [(graph.conv(conv, ALL, 2 * ALL), *hw) for conv, *hw in levels(graph)]
            flat = [graph.reshape(conv, -1, ALL, 2 * height * width) for conv, height, width in convs]
            rows = graph.add("Transpose", graph.add("Concat", *flat, axis=2), perm=[0, 2, 1])
    total = {"joined at channels": len(SIZES) * ALL, "split at points": sum(h * w for h, w in SIZES)}.get(kind, ALL)
    parts = graph.split(rows, CLASSES, total - CLASSES, axis=axis)
    return assert_left_alone(write_levels_in_place, graph.model(*parts, *extra))
