import numpy as np
import pytest

from nanogfl_export.rewrite.channel_maps import ChannelMaps
from nanogfl_export.rewrite.view import GraphView

from .conftest import Graph


def channels_of(graph, *names, others=()):
    """Of each tensor the channel numbers, counted from the first convolution's channel 0; None where it has none."""
    maps = ChannelMaps(GraphView(graph.model(*names, *others)))
    return [maps.of[name].tolist() if name in maps.of else None for name in names]


def test_each_map_that_is_computed_has_numbers_of_its_own():
    graph = Graph(3, 4, 6)
    first = graph.conv("x", 3, 4)
    second = graph.depthwise(graph.add("Relu", first), 4)
    assert channels_of(graph, first, second, "relu1") == [[0, 1, 2, 3], [8, 9, 10, 11], [4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("groups", "order"), [(2, [0, 3, 1, 4, 2, 5]), (3, [0, 2, 4, 1, 3, 5]), (1, [0, 1, 2, 3, 4, 5])]
)
def test_a_shuffle_by_hand(groups, order):
    graph = Graph(3, 4, 6)
    assert channels_of(graph, graph.shuffle(graph.conv("x", 3, 6), 6, groups, 4, 6)) == [order]


def test_a_shuffle_of_two_maps_takes_from_both_in_turn():
    graph = Graph(3, 4, 6)
    joined = graph.add("Concat", graph.conv("x", 3, 3), graph.conv("x", 3, 3), axis=1)
    shuffled = graph.shuffle(joined, 6, 2, 4, 6)
    kept, taken = graph.split(shuffled, 3, 3)
    assert channels_of(graph, kept, taken) == [[0, 3, 1], [4, 2, 5]]


def test_split_with_sizes_with_a_number_and_without():
    graph = Graph(3, 4, 6)
    x = graph.conv("x", 3, 10)
    with_sizes = graph.split(x, 1, 7, 2)
    numbered = graph.add("Split", x, count=4, axis=1, num_outputs=4)
    negative = graph.split(x, 6, 4, axis=-3)
    assert channels_of(graph, *with_sizes) == [[0], [1, 2, 3, 4, 5, 6, 7], [8, 9]]
    assert channels_of(graph, *numbered) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert channels_of(graph, *negative) == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((2, 5, 1), [2, 3, 4]),
        ((-3, 1_000, 1), [3, 4, 5]),
        ((1, 6, 1, 2), [1, 3, 5]),
        ((5, -(2**62), 1, -1), [5, 4, 3, 2, 1, 0]),
        ((4, 0, -3, -2), [4, 2]),
    ],
)
def test_slices(bounds, expected):
    graph = Graph(3, 4, 6)
    sliced = graph.add("Slice", graph.conv("x", 3, 6), *(graph.constant(np.array([n])) for n in bounds))
    assert channels_of(graph, sliced) == [expected]


def test_gather_takes_channels_in_any_order_and_twice():
    graph = Graph(3, 4, 6)
    gathered = graph.add("Gather", graph.conv("x", 3, 6), graph.constant(np.array([4, 0, -1, 4])), axis=1)
    assert channels_of(graph, gathered) == [[4, 0, 5, 4]]


def test_other_shapes_on_the_way_do_not_matter():
    """Pixels together, channels last, and back again."""
    graph = Graph(3, 4, 6)
    flat = graph.reshape(graph.conv("x", 3, 6), -1, 6, 24)
    last = graph.add("Transpose", flat, perm=[0, 2, 1])
    back = graph.add("Transpose", graph.add("Gather", last, graph.constant(np.array([5, 2])), axis=2), perm=[0, 2, 1])
    maps = graph.reshape(back, -1, 2, 4, 6)
    assert channels_of(graph, maps, flat, last) == [[5, 2], None, None]


def test_pixels_that_become_channels_are_no_channel_map():
    graph = Graph(3, 4, 6)
    x = graph.conv("x", 3, 6)
    mixed = graph.reshape(x, -1, 12, 4, 3)
    turned = graph.reshape(x, -1, 6, 6, 4)
    rolled = graph.reshape(graph.add("Gather", x, graph.constant(np.array([3, 0, 1, 2])), axis=2), -1, 6, 4, 6)
    assert channels_of(graph, mixed, turned, rolled) == [None, None, None]


def test_what_is_written_with_sizes_that_are_not_constant_is_no_channel_map():
    graph = Graph(3, 4, 6)
    x = graph.conv("x", 3, 6)
    sizes = graph.add("Abs", graph.constant(np.array([2, 4])))
    parts = graph.add("Split", x, sizes, count=2, axis=1)
    shape = graph.add("Abs", graph.constant(np.array([0, 6, 4, 6])))
    place = graph.add("Abs", graph.constant(np.array([2])))
    made = [graph.add("Reshape", x, shape), graph.add("Gather", x, place, axis=1), *parts]
    view = GraphView(graph.model(*(graph.reshape(name, -1) for name in made)))
    assert not set(made) & ChannelMaps(view).of.keys()


def test_what_is_computed_otherwise_ends_the_trace():
    graph = Graph(3, 4, 6)
    x = graph.conv("x", 3, 6)
    total, grouped = graph.add("Add", x, x), graph.conv(x, 6, 6, group=2)
    with_picture = graph.add("Concat", x, "x", axis=1)
    shifted = graph.add("Sigmoid", x)
    assert channels_of(graph, total, grouped, with_picture, shifted) == [None] * 4
