import numpy as np
import pytest
from onnx import numpy_helper

from nanogfl_export.rewrite.route_channels import route_channels
from tests.thinned import seeds

from .conftest import Graph, assert_equal_outputs, operators

MOVES = {"Concat", "Split", "Slice", "Gather", "Reshape", "Transpose"}


def weights_read(model):
    """(out, in / group, k, k) of every convolution, and its group."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    groups = [next((a.i for a in node.attribute if a.name == "group"), 1) for node in convs]
    return [(shapes[node.input[1]], group) for node, group in zip(convs, groups, strict=True)]


# --- what it is for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("batch", [1, 2, "B"])
def test_a_shuffle_between_two_convolutions_is_gone(groups, batch):
    graph = Graph(3, 6, 8, batch=batch)
    shuffled = graph.shuffle(graph.conv("x", 3, 12), 12, groups, 6, 8)
    model = graph.model(graph.conv(shuffled, 12, 5))
    rewritten = route_channels(model)
    assert not MOVES & set(operators(rewritten))
    assert_equal_outputs(model, rewritten, reference=True)


def unit(graph, x, count, height, width, wide):
    """ShuffleNetV2's, stride 1: half of the channels pass by, the others are convolved, then all are shuffled.
    `wide`: channels between its convolutions."""
    passed, taken = graph.split(x, count // 2, count // 2)
    inner = graph.add("LeakyRelu", graph.conv(taken, count // 2, wide, 1), alpha=0.1)
    out = graph.add("Relu", graph.conv(graph.depthwise(inner, wide), wide, count // 2, 1))
    return graph.shuffle(graph.add("Concat", passed, out, axis=1), count, 2, height, width)


@pytest.mark.parametrize("half", [29, 58, 12])
def test_shufflenet_units_lose_their_shuffles_and_are_filled_up(half):
    """29 and 58 channels fit no block; 58 is what NanoDet's backbones have."""
    graph = Graph(3, 6, 8)
    x = graph.add("Concat", graph.conv("x", 3, half), graph.conv("x", 3, half), axis=1)
    x = graph.shuffle(x, 2 * half, 2, 6, 8)
    for _ in range(3):
        x = unit(graph, x, 2 * half, 6, 8, half)
    model = graph.model(graph.conv(x, 2 * half, 7, 1))
    rewritten = route_channels(model)
    assert_equal_outputs(model, rewritten)
    kinds = operators(rewritten)
    assert not {"Reshape", "Transpose", "Gather"} & set(kinds)
    for (out, into, *_), group in weights_read(rewritten):
        assert (into if group == 1 else out) % 4 == 0 or into == 3  # the picture's three stay three


def test_only_read_channels_are_computed():
    graph = Graph(3, 6, 8)
    taken = graph.add("Slice", graph.conv("x", 3, 20), *(graph.constant(np.array([n])) for n in (3, 11, 1)))
    model = graph.model(graph.conv(taken, 8, 5))
    rewritten = route_channels(model)
    assert [shape[0] for shape, _ in weights_read(rewritten)] == [8, 5]
    assert_equal_outputs(model, rewritten)


@pytest.mark.parametrize(("channels", "filled"), [(10, 12), (12, 12), (29, 32)])
def test_a_convolution_reads_a_multiple_of_4(channels, filled):
    graph = Graph(3, 6, 8)
    model = graph.model(graph.conv(graph.conv("x", 3, channels), channels, 5))
    rewritten = route_channels(model)
    assert [shape[:2] for shape, _ in weights_read(rewritten)] == [(filled, 3), (5, filled)]
    assert_equal_outputs(model, rewritten, reference=True)


def test_what_is_filled_up_is_zero_all_the_way():
    """Whatever reads it has zero weights as well; zeros cannot become inf, nor inf times zero NaN."""
    graph = Graph(3, 6, 8)
    x = graph.add("Relu", graph.conv("x", 3, 10))
    model = graph.model(graph.conv(graph.depthwise(x, 10), 10, 5))
    rewritten = route_channels(model)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in rewritten.graph.initializer}
    first, deep, last = (node for node in rewritten.graph.node if node.op_type == "Conv")
    for conv in (first, deep):
        weight, bias = (values[name] for name in conv.input[1:])
        assert (np.abs(weight).sum(axis=(1, 2, 3)) > 0).tolist() == [True] * 10 + [False] * 2
        assert not bias[10:].any()
    assert not values[last.input[1]][:, 10:].any()


@pytest.mark.parametrize(
    ("op_type", "settings"),
    [
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        ("Resize", {"mode": "nearest"}),
        ("Resize", {"mode": "linear"}),
    ],
)
def test_a_pooling_and_a_resize_read_a_multiple_of_16(op_type, settings):
    graph = Graph(3, 6, 8)
    x = graph.add("LeakyRelu", graph.conv("x", 3, 21))
    scales = ["", graph.constant(np.array([1, 1, 2, 2], np.float32))] if op_type == "Resize" else []
    model = graph.model(graph.conv(graph.add(op_type, x, *scales, **settings), 21, 5))
    rewritten = route_channels(model)
    assert [shape[:2] for shape, _ in weights_read(rewritten)] == [(32, 3), (5, 32)]
    assert_equal_outputs(model, rewritten, reference=True)


@pytest.mark.parametrize("shared_first", [True, False])
def test_parts_of_two_maps_are_filled_up_together(shared_first):
    """10 + 11 = 21 channels come from two convolutions; a part that somebody else reads as well cannot grow."""
    graph = Graph(3, 6, 8)
    shared, alone = graph.conv("x", 3, 10), graph.conv("x", 3, 11)
    parts = (shared, alone) if shared_first else (alone, shared)
    joined = graph.conv(graph.add("Concat", *parts, axis=1), 21, 5)
    model = graph.model(joined, graph.conv(shared, 10, 6))
    rewritten = route_channels(model)
    assert_equal_outputs(model, rewritten)
    assert sorted(shape[:2] for shape, _ in weights_read(rewritten)) == [(5, 24), (6, 10), (10, 3), (14, 3)]


def test_a_convolution_without_bias_stays_without_effect_on_others():
    graph = Graph(3, 6, 8)
    x = graph.shuffle(graph.conv("x", 3, 10, bias=False), 10, 2, 6, 8)
    model = graph.model(graph.conv(graph.depthwise(x, 10, bias=False), 10, 6))
    assert_equal_outputs(model, route_channels(model), reference=True)


# --- what it leaves alone, and bugs that were here ------------------------------------------------------------------


def test_an_activated_shuffle_may_be_an_output():
    """The output's name was given to the channels in another order, too: the rewrite never came to an end."""
    graph = Graph(3, 6, 8)
    activated = graph.add("Relu", graph.shuffle(graph.conv("x", 3, 8), 8, 2, 6, 8))
    model = graph.model(activated, graph.conv(activated, 8, 4))
    assert_equal_outputs(model, route_channels(model))


def cropped(graph, x):
    return graph.add("Slice", x, *(graph.constant(np.array([n])) for n in (0, 3, 2))), 8


def turned(graph, x):
    return graph.add("Transpose", x, perm=[0, 1, 3, 2]), 8


def reshaped(graph, x):
    return graph.reshape(x, -1, 8, 8, 6), 8


def mixed(graph, x):
    """Every other row becomes a channel."""
    return graph.reshape(x, -1, 16, 3, 8), 16


def stacked(graph, x):
    return graph.add("Concat", x, x, axis=2), 8


def lower_half(graph, x):
    return graph.split(x, 3, 3, axis=2)[1], 8


def mirrored(graph, x):
    return graph.add("Gather", x, graph.constant(np.arange(8)[::-1].copy()), axis=3), 8


def second_picture(graph, x):
    return graph.add("Slice", x, *(graph.constant(np.array([n])) for n in (1, 2, 0))), 8


def picture_of_two(graph, x):
    return graph.add("Slice", x, *(graph.constant(np.array([n])) for n in (0, 1, -4))), 8


def first_picture(graph, x):
    return graph.add("Gather", x, graph.constant(np.array([0])), axis=0), 8


def both_twice(graph, x):
    return graph.add("Concat", x, x, axis=0), 8


def more_channels(graph, x):
    return graph.add("Resize", x, "", graph.constant(np.array([1, 2, 2, 2], np.float32)), mode="nearest"), 16


def turned_over(graph, x):
    return graph.add("Transpose", graph.add("Transpose", x), perm=[3, 2, 0, 1]), 8


@pytest.mark.parametrize(
    "move",
    [cropped, turned, reshaped, mixed, stacked, lower_half, mirrored, second_picture, picture_of_two,
     first_picture, both_twice,
     more_channels, turned_over],
)  # fmt: skip
def test_what_moves_pixels_or_pictures_is_no_order_of_channels(move):
    """A map that was cropped, stacked or turned passed for the whole map: all its pixels have the same channel."""
    graph = Graph(3, 6, 8, batch=2)
    moved, channels = move(graph, graph.conv("x", 3, 8))
    model = graph.model(graph.conv(moved, channels, 5))
    rewritten = route_channels(model)
    assert operators(model) - operators(rewritten) == {}
    assert_equal_outputs(model, rewritten, reference=True)


def test_the_places_of_a_pooling_count_channels_and_stay():
    graph = Graph(3, 6, 8)
    shuffled = graph.shuffle(graph.conv("x", 3, 10), 10, 2, 6, 8)
    values, places = graph.add("MaxPool", shuffled, count=2, kernel_shape=[2, 2], strides=[2, 2])
    model = graph.model(values, graph.add("Cast", places, to=1))
    assert_equal_outputs(model, route_channels(model))


def test_a_split_into_a_number_of_parts_makes_the_last_the_smallest():
    """numpy's array_split would give 3, 3, 2, 2."""
    graph = Graph(3, 6, 8)
    parts = graph.add("Split", graph.conv("x", 3, 10), count=4, axis=1, num_outputs=4)
    model = graph.model(*(graph.conv(part, into, 5) for part, into in zip(parts, (3, 3, 3, 1), strict=True)))
    rewritten = route_channels(model)
    assert_equal_outputs(model, rewritten, reference=True)
    assert sorted(shape[1] for shape, _ in weights_read(rewritten)) == [1, 3, 3, 3, 3]  # the first reads the picture


def test_free_sides_and_grouped_convolutions_work_too():
    graph = Graph(4, 6, 8)
    grouped = graph.conv(graph.conv("x", 4, 6, group=2), 6, 6, group=3)
    model = graph.model(graph.conv(grouped, 6, 5), graph.conv(graph.conv("x", 4, 10), 10, 20, group=10))
    assert_equal_outputs(model, route_channels(model))
    graph = Graph(3, "H", "W")
    activated = graph.add("Relu", graph.conv("x", 3, 6))
    model = graph.model(graph.conv(graph.add("Concat", activated, activated, axis=1), 12, 4))
    rewritten = route_channels(model)
    for tensor in (model.graph.input[0], rewritten.graph.input[0]):
        tensor.type.tensor_type.shape.dim[2].dim_value, tensor.type.tensor_type.shape.dim[3].dim_value = 6, 8
    assert_equal_outputs(model, rewritten)


def test_channels_that_a_pooling_lets_through_for_nobody_are_dropped():
    """Half of what the activation delivers is never read: what it reads was looked for and not found."""
    graph = Graph(3, 6, 8)
    _, read = graph.split(graph.add("LeakyRelu", graph.conv("x", 3, 10)), 6, 4)
    model = graph.model(read)
    rewritten = route_channels(model)
    assert [shape[0] for shape, _ in weights_read(rewritten)] == [4]
    assert_equal_outputs(model, rewritten)


# --- whatever comes ------------------------------------------------------------------------------------------------


class RandomNetwork:
    """Grows a graph from its maps: name -> (channels, height, width)."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.graph = Graph(3, 8, 12, batch=["B", 1, 2][self.random.integers(3)], seed=seed)
        self.maps = {}
        for _ in range(2):
            self.convolve("x", 3, 8, 12)

    def any_map(self):
        """More often a late one."""
        names = list(self.maps)
        name = names[int(len(names) * self.random.random() ** 0.5)]
        return name, *self.maps[name]

    def like(self, height, width):
        names = [name for name, (_, *hw) in self.maps.items() if hw == [height, width]]
        return str(self.random.choice(names))

    def convolve(self, x, count, height, width):
        out = int(self.random.choice([4, 6, 8, 10, 16, 29]))
        settings = {"kernel": int(self.random.choice([1, 3])), "bias": bool(self.random.random() < 0.8)}
        self.maps[self.graph.conv(x, count, out, **settings)] = (out, height, width)

    def depthwise(self, x, count, height, width):
        if count > 1:
            self.maps[self.graph.depthwise(x, count, bias=bool(self.random.random() < 0.8))] = (count, height, width)

    def activate(self, x, *size):
        self.maps[self.graph.add(str(self.random.choice(["Relu", "LeakyRelu"])), x)] = size

    def pool(self, x, count, height, width):
        if min(height, width) >= 4:
            kind = str(self.random.choice(["MaxPool", "AveragePool"]))
            settings = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
            self.maps[self.graph.add(kind, x, **settings)] = (count, (height + 1) // 2, (width + 1) // 2)

    def resize(self, x, count, height, width):
        if height <= 8:
            scales = self.graph.constant(np.array([1, 1, 2, 2], np.float32))
            mode = str(self.random.choice(["nearest", "linear"]))
            self.maps[self.graph.add("Resize", x, "", scales, mode=mode)] = (count, 2 * height, 2 * width)

    def plus(self, x, count, height, width):
        same = [name for name, size in self.maps.items() if size == (count, height, width)]
        self.maps[self.graph.add("Add", x, str(self.random.choice(same)))] = (count, height, width)

    def sigmoid(self, x, *size):
        self.maps[self.graph.add("Sigmoid", x)] = size  # zeros do not stay zeros

    def join(self, x, count, height, width):
        others = [self.like(height, width) for _ in range(self.random.integers(1, 3))]
        total = count + sum(self.maps[name][0] for name in others)
        if total <= 80:
            self.maps[self.graph.add("Concat", x, *others, axis=1)] = (total, height, width)

    def split(self, x, count, height, width):
        if count < 2:
            return
        first = count // 2 if self.random.random() < 0.5 else int(self.random.integers(1, count))
        for part, size in zip(self.graph.split(x, first, count - first), (first, count - first), strict=True):
            self.maps[part] = (size, height, width)

    def shuffle(self, x, count, height, width):
        if not count % 2:
            self.maps[self.graph.shuffle(x, count, 2, height, width)] = (count, height, width)

    def gather(self, x, count, height, width):
        places = self.random.permutation(count)[: self.random.integers(1, count + 1)]
        if self.random.random() < 0.2:
            places = self.random.integers(-count, count, 5)  # some twice
        self.maps[self.graph.add("Gather", x, self.graph.constant(places), axis=1)] = (len(places), height, width)

    def slice(self, x, count, height, width):
        start, step = int(self.random.integers(0, count)), int(self.random.choice([1, 2]))
        bounds = (self.graph.constant(np.array([n])) for n in (start, 1_000, 1, step))
        self.maps[self.graph.add("Slice", x, *bounds)] = (len(range(start, count, step)), height, width)

    def crop(self, x, count, height, width):
        if height > 4:
            bounds = (self.graph.constant(np.array([n])) for n in (1, height - 1, 2))
            self.maps[self.graph.add("Slice", x, *bounds)] = (count, height - 2, width)

    def model(self):
        steps = [self.convolve] * 5 + [self.depthwise, self.activate, self.split, self.shuffle, self.join] * 3
        steps += [self.pool, self.resize, self.plus, self.gather, self.slice] * 2 + [self.sigmoid, self.crop]
        for _ in range(self.random.integers(4, 22)):
            steps[self.random.integers(len(steps))](*self.any_map())
        names = list(self.maps)
        outputs = {names[-1], *self.random.choice(names, self.random.integers(0, 3))}
        return self.graph.model(*sorted(map(str, outputs)))


@pytest.mark.parametrize("seeds", seeds(40, 120))
def test_random_networks_compute_the_same(seeds):
    for seed in seeds:
        model = RandomNetwork(seed).model()
        try:
            rewritten = route_channels(model)
            assert_equal_outputs(model, rewritten)
            # twice: what comes out is a graph like any other
            assert_equal_outputs(model, route_channels(rewritten))
        except Exception as error:
            error.add_note(f"RandomNetwork({seed})")
            raise
