"""Where each channel of each feature map comes from.

Every channel and pixel gets a number, and the numbers are sent through the graph's own Split, Concat, Reshape,
Transpose, Slice and Gather. A shuffle, however it is written, is then an order of channels.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from nanogfl_export.rewrite.view import GraphView, attributes

_PIXELS = 2**32  # more than a map has

CHANNELWISE = frozenset({"LeakyRelu", "Relu", "MaxPool", "AveragePool", "Resize"})
"""channel i of the output depends on channel i of the input alone, and zeros become zeros"""


@dataclass(frozen=True)
class Origin:
    """A computed feature map: the output of a convolution or of a channelwise operator."""

    node: onnx.NodeProto
    first: int
    """the number of its channel 0; channel i has the number first + i"""
    count: int
    hw: tuple[int, int]

    @property
    def name(self) -> str:
        return str(self.node.output[0])

    @property
    def numbers(self) -> list[int]:
        return list(range(self.first, self.first + self.count))


class ChannelMaps:
    """`of[tensor]`: (C,) the numbers of its channels, for each map (B, C, H, W) made of channels of computed maps."""

    def __init__(self, view: GraphView) -> None:
        self.origins: list[Origin] = []
        self.of: dict[str, NDArray[np.int64]] = {}
        self._owners: list[int] = []
        self._grids: dict[str, NDArray[np.int64]] = {}
        self.moves: set[str] = set()
        """tensors made by operators that only move channels"""
        for node in view.graph.node:
            shape = view.shape(node.output[0])
            if is_channel_op(node, view) and len(shape) == 4:
                plain = node.op_type == "Conv" and not is_depthwise(node, view)
                if plain or len(self.of.get(node.input[0], ())) == shape[1]:
                    self._add_origin(node, shape)
            elif (moved := self._move(node, view)) is not None:
                for name, grid in zip(node.output, moved, strict=True):
                    self._grids[name] = grid
                    self.moves.add(name)
                    if grid.ndim == 4 and grid.size and self._is_map(grid):
                        self.of[name] = grid[0, :, 0, 0] // _PIXELS

    def owner(self, number: int) -> Origin:
        return self.origins[self._owners[number]]

    def _add_origin(self, node: onnx.NodeProto, shape: tuple[int, ...]) -> None:
        _, count, height, width = shape
        origin = Origin(node, len(self._owners), count, (height, width))
        self._owners += [len(self.origins)] * count
        self.origins.append(origin)
        self.of[origin.name] = numbers = np.array(origin.numbers)
        self._grids[origin.name] = _grid(numbers, (height, width))

    def _is_map(self, grid: NDArray[np.int64]) -> bool:
        """Whether each channel is one whole channel of a computed map, with its pixels in place."""
        numbers = grid[0, :, 0, 0] // _PIXELS
        kept_size = all(self.owner(int(number)).hw == grid.shape[2:] for number in numbers)
        return kept_size and bool((grid == _grid(numbers, grid.shape[2:])).all())

    def _move(self, node: onnx.NodeProto, view: GraphView) -> list[NDArray[np.int64]] | None:
        """The numbers of the outputs if the node only moves numbered values within a picture, else None."""
        data = [self._grids.get(name) for name in node.input]
        fixed = [view.constants.get(name) for name in node.input]
        settings = attributes(node)
        grid = data[0] if data else None
        if grid is None:
            return None
        axis = int(settings.get("axis", 0)) % grid.ndim
        if axis == 0 and node.op_type in ("Concat", "Split", "Gather"):
            return None  # whole pictures
        match node.op_type:
            case "Concat" if all(part is not None for part in data):
                return [np.concatenate([part for part in data if part is not None], axis)]
            case "Transpose" if settings.get("perm", [-1])[0] == 0:
                return [grid.transpose(settings["perm"])]
            case "Reshape" if fixed[1] is not None and _keeps_batch(grid, fixed[1]):
                return [grid.reshape([1, *fixed[1][1:]])]
            case "Split" if len(fixed) > 1 and fixed[1] is not None:
                return list(np.split(grid, np.cumsum(fixed[1])[:-1], axis))
            case "Split" if len(fixed) == 1:
                size = -(-grid.shape[axis] // len(node.output))  # the last one is the smaller one
                return list(np.split(grid, size * np.arange(1, len(node.output)), axis))
            case "Gather" if fixed[1] is not None and fixed[1].ndim == 1:
                return [np.take(grid, fixed[1], axis)]
            case "Slice" if len(fixed) > 3 and all(value is not None for value in fixed[1:]):
                starts, ends, axes, *steps = (value for value in fixed[1:] if value is not None)
                return None if 0 in axes % grid.ndim else [_slice(grid, starts, ends, axes, *steps)]
        return None


def _grid(numbers: NDArray[np.int64], hw: tuple[int, ...]) -> NDArray[np.int64]:
    """(1, C, H, W): a map of these channels, each value the number of its channel and pixel."""
    return (numbers[:, None] * _PIXELS + np.arange(hw[0] * hw[1])).reshape(1, len(numbers), *hw)


def is_depthwise(node: onnx.NodeProto, view: GraphView) -> bool:
    weight = view.constants[node.input[1]]
    return bool(attributes(node).get("group", 1) == weight.shape[0] and weight.shape[1] == 1 and weight.shape[0] > 1)


def is_channel_op(node: onnx.NodeProto, view: GraphView) -> bool:
    """A plain or depthwise convolution with constant weights, or a channelwise operator."""
    if node.op_type == "Conv":
        constant = all(name in view.constants for name in node.input[1:])
        return constant and (attributes(node).get("group", 1) == 1 or is_depthwise(node, view))
    if node.op_type == "Resize":
        return not any(node.input[3:])  # by scales; sizes would name the number of channels
    return node.op_type in CHANNELWISE and len(node.output) == 1  # a MaxPool's second output counts channels


def _keeps_batch(grid: NDArray[np.int64], shape: NDArray[np.int64]) -> bool:
    """Whether all sizes but the first are given, and are those of one picture."""
    rest = [int(size) for size in shape[1:]]
    return all(size > 0 for size in rest) and int(np.prod(rest)) == grid.size


def _slice(
    grid: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    axes: NDArray[np.int64],
    steps: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    index = [slice(None)] * grid.ndim
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        index[int(axes[place])] = slice(int(start), int(end), 1 if steps is None else int(steps[place]))
    return grid[tuple(index)]
