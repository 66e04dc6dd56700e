"""Channel shuffles become an order of weights, and channels come in the numbers that the runtime's blocked layout takes.

ShuffleNet's Concat, Reshape, Transpose, Reshape, Split between two convolutions only decides which channel goes where.
Here every convolution writes its channels in the order in which they are read: those that the next reader takes, then
those that a later one takes, and so on. One Split, contiguous in memory, hands each part to its readers, whose weights
are permuted to the order in which the parts arrive. A shuffle costs nothing, and a half that passes by is not touched.

onnxruntime computes convolutions in blocks of channels only where their number is a multiple of 4, and poolings only
where it is a multiple of the block (16 with AVX-512): channels that are zero and are read with zero weights fill up the rest.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from nanogfl_export.rewrite.channel_maps import ChannelMaps, Origin, is_channel_op, is_depthwise
from nanogfl_export.rewrite.view import Array, GraphView, with_inputs

CONV_MULTIPLE, BLOCK = 4, 16
ZERO = -1
"""the number of a channel that is none"""


@dataclass(frozen=True)
class Read:
    """A node that reads channels in whatever order they come (`any_order`), or a place that needs them as they were."""

    place: int
    """of the node in the graph"""
    numbers: NDArray[np.int64]
    any_order: bool
    multiple: int
    tensor: str


@dataclass
class Piece:
    """Channels of one origin that the same nodes read: a tensor of the rewritten graph."""

    tensor: str
    numbers: list[int]
    readers: tuple[int, ...]


@dataclass
class Layout:
    """How an origin's channels lie in the rewritten graph."""

    pieces: list[Piece] = field(default_factory=list)

    @property
    def numbers(self) -> list[int]:
        return [number for piece in self.pieces for number in piece.numbers]


def route_channels(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same outputs but for the order in which sums are taken."""
    view = GraphView(model)
    return _Router(view).run()


class _Router:
    def __init__(self, view: GraphView) -> None:
        self.view = view
        self.maps = ChannelMaps(view)
        self.reads: list[Read] = []
        self.live: set[int] = set()
        self.layouts: dict[str, Layout] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def run(self) -> onnx.ModelProto:
        self._collect_reads()
        self._lay_out()
        for place, node in enumerate(self.view.graph.node):
            if place in self.live:
                self._emit(place, node)
        return self.view.finish(self.nodes, self.constants)

    # --- who reads what ----------------------------------------------------------------------------------------------

    def _collect_reads(self) -> None:
        nodes = list(self.view.graph.node)
        needed = set(self.view.outputs)
        for name in self.view.outputs:
            if name in self.maps.of:
                self._read(len(nodes), name, needed)
        for place in reversed(range(len(nodes))):
            node = nodes[place]
            if not any(name in needed for name in node.output):
                continue
            if node.output[0] in self.maps.moves and all(n in self.maps.of for n in node.output if n in needed):
                continue  # its channels are taken from where they come from
            self.live.add(place)
            computed = self._origin_of(node) is not None
            for position, name in enumerate(node.input):
                if name not in self.maps.of:
                    needed.add(name)
                elif computed and position == 0:
                    self._read(place, name, needed, BLOCK if node.op_type != "Conv" else CONV_MULTIPLE)
                else:
                    self._read(place, name, needed)

    def _read(self, place: int, name: str, needed: set[str], multiple: int = 0) -> None:
        numbers = self.maps.of[name]
        self.reads.append(Read(place, numbers, multiple > 0, multiple, name))
        needed.update(self.maps.owner(int(number)).name for number in numbers)

    def _origin_of(self, node: onnx.NodeProto) -> Origin | None:
        numbers = self.maps.of.get(node.output[0])
        if numbers is None or node.output[0] in self.maps.moves:
            return None
        return self.maps.owner(int(numbers[0]))

    # --- the order of channels ---------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        """Latest first: a map whose one reader keeps its channels apart takes that reader's order."""
        by_place = {read.place: read for read in self.reads if read.any_order}
        for origin in reversed(self.maps.origins):
            readers = [read for read in self.reads if np.isin(read.numbers, self._numbers(origin)).any()]
            if not readers:
                continue
            follower = self._follower(origin, readers)
            if follower is not None and follower.name in self.layouts:
                self.layouts[origin.name] = self._follow(origin, follower)
            elif self._free(origin, by_place):
                self.layouts[origin.name] = self._grouped(origin, readers)
        self._fill_reads()
        for origin in reversed(self.maps.origins):  # what was filled up later
            readers = [read for read in self.reads if np.isin(read.numbers, self._numbers(origin)).any()]
            follower = self._follower(origin, readers)
            if follower is not None and follower.name in self.layouts and origin.name in self.layouts:
                self.layouts[origin.name] = self._follow(origin, follower)

    def _numbers(self, origin: Origin) -> NDArray[np.int64]:
        return np.arange(origin.first, origin.first + origin.count)

    def _keeps_channels(self, node: onnx.NodeProto) -> bool:
        return node.op_type != "Conv" or is_depthwise(node, self.view)

    def _follower(self, origin: Origin, readers: list[Read]) -> Origin | None:
        """The map computed channel by channel from this whole one, if nothing else reads it."""
        if len(readers) != 1 or not readers[0].any_order or len(readers[0].numbers) != origin.count:
            return None
        node = self.view.graph.node[readers[0].place]
        if not self._keeps_channels(node) or (readers[0].numbers != self._numbers(origin)).any():
            return None
        return self._origin_of(node)

    def _free(self, origin: Origin, by_place: dict[int, Read]) -> bool:
        """May its channels lie in any order? A convolution's may; those of a map made channel by channel lie as its input's,
        which may be chosen if that is one whole map without other readers."""
        if not self._keeps_channels(origin.node):
            return True
        source = self.maps.of[origin.node.input[0]]
        owner = self.maps.owner(int(source[0]))
        if len(source) != owner.count or (source != self._numbers(owner)).any():
            return False
        readers = [read for read in self.reads if np.isin(read.numbers, source).any()]
        return len(readers) == 1 and self._free(owner, by_place)

    def _grouped(self, origin: Origin, readers: list[Read]) -> Layout:
        signatures: dict[tuple[int, ...], list[int]] = {}
        for number in self._numbers(origin):
            signature = tuple(sorted({read.place for read in readers if number in read.numbers}))
            if signature:
                signatures.setdefault(signature, []).append(int(number))
        groups = sorted(signatures.items())
        whole = len(groups) == 1
        pieces = [
            Piece(origin.name if whole else f"{origin.name}_part{index}", numbers, signature)
            for index, (signature, numbers) in enumerate(groups)
        ]
        layout = Layout(pieces)
        alone = all(read.any_order and len(read.numbers) == origin.count for read in readers)
        if whole and alone:
            multiple = max([read.multiple for read in readers] + [self._chain_multiple(origin)])
            pieces[0].numbers += [ZERO] * (-len(pieces[0].numbers) % multiple)
        return layout

    def _chain_multiple(self, origin: Origin) -> int:
        """What the operators want that made this map, channel by channel, from a convolution's output."""
        multiple = CONV_MULTIPLE
        while self._keeps_channels(origin.node):
            if origin.node.op_type not in ("Conv", "LeakyRelu", "Relu"):
                multiple = BLOCK
            origin = self.maps.owner(int(self.maps.of[origin.node.input[0]][0]))
        return multiple

    def _follow(self, origin: Origin, follower: Origin) -> Layout:
        shift = origin.first - follower.first
        numbers = [number if number == ZERO else number + shift for number in self.layouts[follower.name].numbers]
        return Layout([Piece(origin.name, numbers, ())])

    def _fill_reads(self) -> None:
        """Zeros into a part that only this reader takes, until the number of channels that it reads fits."""
        for read in self.reads:
            pieces = self._pieces(read.numbers) if read.any_order else []
            missing = -sum(len(piece.numbers) for piece in pieces) % read.multiple if len(pieces) > 1 else 0
            own = [piece for piece in pieces if piece.readers == (read.place,)]
            if missing and own:
                own[-1].numbers += [ZERO] * missing

    def _pieces(self, numbers: Iterable[int]) -> list[Piece]:
        """The pieces with these channels, in the order in which they are first asked for."""
        found: dict[str, Piece] = {}
        for number in numbers:
            layout = self.layouts.get(self.maps.owner(int(number)).name)
            if layout is None:
                return []
            piece = next(piece for piece in layout.pieces if number in piece.numbers)
            found[piece.tensor] = piece
        return list(found.values())

    # --- the new graph -------------------------------------------------------------------------------------------------

    def _emit(self, place: int, node: onnx.NodeProto) -> None:
        origin = self._origin_of(node)
        if origin is None:
            inputs = [self._as_it_was(name, place) if name in self.maps.of else name for name in node.input]
            self.nodes.append(with_inputs(node, inputs))
            return
        if node.input[0] in self.maps.of:
            tensor, numbers = self._in_any_order(node, self.maps.of[node.input[0]])
        else:
            tensor, numbers = node.input[0], list(range(self.view.shape(node.input[0])[1]))  # the picture
        if self._keeps_channels(node):
            shift = {int(n): origin.first + i for i, n in enumerate(self.maps.of[node.input[0]])}
            order = [shift.get(number, ZERO) for number in numbers]
            if origin.name not in self.layouts:
                self.layouts[origin.name] = Layout([Piece(origin.name, order, ())])
        else:
            order = self.layouts[origin.name].numbers
        if node.op_type == "Conv":
            self.nodes.append(self._convolution(node, origin, tensor, numbers, order))
        else:
            self.nodes.append(with_inputs(node, [tensor, *node.input[1:]]))
        self._split(origin, order)

    def _convolution(
        self, node: onnx.NodeProto, origin: Origin, tensor: str, numbers: list[int], order: list[int]
    ) -> onnx.NodeProto:
        weight = self.view.constants[node.input[1]]
        bias = self.view.constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight), weight.dtype)
        rows = [ZERO if number == ZERO else number - origin.first for number in order]
        weight, bias = _take(weight, rows, 0), _take(bias, rows, 0)
        group = len(rows)
        if not is_depthwise(node, self.view):
            group = 1
            if node.input[0] in self.maps.of:
                position = {int(number): index for index, number in enumerate(self.maps.of[node.input[0]])}
                numbers = [position.get(number, ZERO) for number in numbers]
            weight = _take(weight, numbers, 1)
        names = [f"{origin.name}_weight", f"{origin.name}_bias"]
        self.constants.update(zip(names, (weight, bias), strict=True))
        return with_inputs(node, [tensor, *names], group=group)

    def _split(self, origin: Origin, order: list[int]) -> None:
        pieces = self.layouts[origin.name].pieces
        if len(pieces) > 1:
            sizes = np.array([len(piece.numbers) for piece in pieces])
            name = f"{origin.name}_sizes"
            self.constants[name] = sizes
            names = [piece.tensor for piece in pieces]
            self.nodes.append(helper.make_node("Split", [origin.name, name], names, name=f"{origin.name}_split", axis=1))

    def _in_any_order(self, node: onnx.NodeProto, numbers: NDArray[np.int64]) -> tuple[str, list[int]]:
        """The tensor with these channels, and the number of each of its channels."""
        pieces = self._pieces(numbers)
        order = [number for piece in pieces for number in piece.numbers]
        if len(pieces) == 1:
            return pieces[0].tensor, order
        joined = f"{node.output[0]}_in"
        names = [piece.tensor for piece in pieces]
        self.nodes.append(helper.make_node("Concat", names, [joined], name=joined, axis=1))
        return joined, order

    def _as_it_was(self, name: str, place: int) -> str:
        """The tensor with its channels in the order of the graph that came in."""
        numbers = [int(number) for number in self.maps.of[name]]
        pieces = self._pieces(numbers)
        order = [number for piece in pieces for number in piece.numbers]
        tensor = pieces[0].tensor
        if len(pieces) > 1:
            tensor = f"{name}_joined{place}"
            self.nodes.append(helper.make_node("Concat", [p.tensor for p in pieces], [tensor], name=tensor, axis=1))
        if order != numbers:
            index, gathered = f"{name}_order{place}", f"{name}_ordered{place}"
            self.constants[index] = np.array([order.index(number) for number in numbers])
            self.nodes.append(helper.make_node("Gather", [tensor, index], [gathered], name=gathered, axis=1))
            tensor = gathered
        return tensor


def _take(values: Array, places: list[int], axis: int) -> Array:
    """`values` at these places along the axis, zeros where a place is none."""
    taken = np.take(values, [max(place, 0) for place in places], axis)
    shape = [-1 if dimension == axis else 1 for dimension in range(values.ndim)]
    return np.where(np.reshape(np.array(places) == ZERO, shape), np.zeros((), values.dtype), taken)
