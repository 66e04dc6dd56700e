"""The order of the channels of every computed feature map: channels with the same readers lie together."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from nanogfl_export.rewrite.channel_maps import ChannelMaps, Origin, is_depthwise
from nanogfl_export.rewrite.view import GraphView

CONV_MULTIPLE = 4
"""onnxruntime uses its blocked layout for a convolution if the number of input channels is a multiple of this"""
BLOCK = 16
"""and for a pooling or resize if it is a multiple of the block: 16 with AVX-512 and NEON, 8 with AVX2"""
ZERO = -1
"""the number of a filler channel: it is zero and is read with zero weights"""


@dataclass(frozen=True)
class Read:
    """A node's input, or an output of the graph, with its channels."""

    place: int
    """of the node in the graph"""
    numbers: NDArray[np.int64]
    multiple: int
    """the number of channels should be a multiple of this; 0: they are needed exactly in the old order"""

    @property
    def any_order(self) -> bool:
        return self.multiple > 0


@dataclass
class Piece:
    """Channels of one map with the same readers: one tensor of the rewritten graph."""

    tensor: str
    numbers: list[int]
    readers: tuple[int, ...] = ()


class ChannelPlan:
    """`pieces[map]`: the pieces of each computed map, in order; `live`: the places of the nodes still needed."""

    def __init__(self, view: GraphView) -> None:
        self.view, self.maps = view, ChannelMaps(view)
        self.live: set[int] = set()
        self.pieces: dict[str, list[Piece]] = {}
        self._reads: list[Read] = []
        self._collect_reads()
        self._readers: dict[str, list[Read]] = defaultdict(list)
        for read in self._reads:
            for name in {self.maps.owner(int(number)).name for number in read.numbers}:
                self._readers[name].append(read)
        for origin in reversed(self.maps.origins):  # latest first: a map may take over its reader's order
            self._lay_out(origin)
        self._fill_reads()
        for origin in reversed(self.maps.origins):
            self._follow(origin)  # once more, with the zeros that were filled in

    def origin_of(self, node: onnx.NodeProto) -> Origin | None:
        """The map that this node computes, or None."""
        name = node.output[0]
        return (
            None if name in self.maps.moves or name not in self.maps.of else self.maps.owner(int(self.maps.of[name][0]))
        )

    def tensor_of(self, origin: Origin) -> str:
        """The map's name in the rewritten graph. An output of the graph keeps its own for the old order."""
        return f"{origin.name}_routed" if origin.name in self.view.outputs else origin.name

    def keeps_channels(self, node: onnx.NodeProto) -> bool:
        """Whether the node computes channel by channel."""
        return node.op_type != "Conv" or is_depthwise(node, self.view)

    def find(self, numbers: Iterable[int]) -> list[Piece]:
        """The pieces with these channels, in the order of first use; [] where a map is not laid out.

        Channels that no node needs have no piece.
        """
        found: dict[str, Piece] = {}
        for number in numbers:
            pieces = self.pieces.get(self.maps.owner(int(number)).name)
            if not pieces:
                return []
            found |= {piece.tensor: piece for piece in pieces if number in piece.numbers}
        return list(found.values())

    def _collect_reads(self) -> None:
        nodes, needed = list(self.view.graph.node), set(self.view.outputs)
        for name in sorted(self.view.outputs & self.maps.of.keys()):
            self._read(len(nodes), name, 0, needed)
        for place in reversed(range(len(nodes))):
            node = nodes[place]
            asked = [name for name in node.output if name in needed]
            if not asked or (node.output[0] in self.maps.moves and all(name in self.maps.of for name in asked)):
                continue  # not needed, or its channels are taken from where they come from
            self.live.add(place)
            for position, name in enumerate(node.input):
                if name not in self.maps.of:
                    needed.add(name)
                elif position == 0 and self.origin_of(node) is not None and self.distinct(name):
                    self._read(place, name, CONV_MULTIPLE if node.op_type == "Conv" else BLOCK, needed)
                else:
                    self._read(place, name, 0, needed)

    def distinct(self, name: str) -> bool:
        """Whether no channel occurs twice."""
        return len(set(self.maps.of[name])) == len(self.maps.of[name])

    def _read(self, place: int, name: str, multiple: int, needed: set[str]) -> None:
        numbers = self.maps.of[name]
        self._reads.append(Read(place, numbers, multiple))
        needed.update(self.maps.owner(int(number)).name for number in numbers)

    def _lay_out(self, origin: Origin) -> None:
        readers = self._readers[origin.name]
        if not readers or self._follow(origin) or not self._free(origin):
            return
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number in origin.numbers:
            if places := tuple(sorted({read.place for read in readers if number in read.numbers})):
                groups[places].append(number)
        name = self.tensor_of(origin)
        whole = len(groups) == 1
        self.pieces[origin.name] = pieces = [
            Piece(name if whole else f"{name}_part{index}", numbers, places)
            for index, (places, numbers) in enumerate(sorted(groups.items()))
        ]
        if whole and all(read.any_order and len(read.numbers) == origin.count for read in readers):
            multiple = max(self._chain_multiple(origin), *(read.multiple for read in readers))
            pieces[0].numbers += [ZERO] * (-len(pieces[0].numbers) % multiple)

    def _follow(self, origin: Origin) -> bool:
        """A map whose only reader computes channel by channel takes over the order of that node's output."""
        readers = self._readers[origin.name]
        if len(readers) != 1 or not readers[0].any_order or list(readers[0].numbers) != origin.numbers:
            return False
        node = self.view.graph.node[readers[0].place]
        follower = self.origin_of(node)
        if follower is None or not self.keeps_channels(node) or follower.name not in self.pieces:
            return False
        theirs = [number for piece in self.pieces[follower.name] for number in piece.numbers]
        shift = origin.first - follower.first
        self.pieces[origin.name] = [Piece(origin.name, [n if n == ZERO else n + shift for n in theirs])]
        return True

    def _free(self, origin: Origin) -> bool:
        """Whether its channels may lie in any order.

        A convolution's may. A map made channel by channel has the order of its input, which is free if that is one
        whole free map without other readers.
        """
        if not self.keeps_channels(origin.node):
            return True
        numbers = self.maps.of[origin.node.input[0]]
        owner = self.maps.owner(int(numbers[0]))
        return list(numbers) == owner.numbers and len(self._readers[owner.name]) == 1 and self._free(owner)

    def _chain_multiple(self, origin: Origin) -> int:
        """The largest multiple that the operators between the last plain convolution and this map want."""
        multiple = CONV_MULTIPLE
        while self.keeps_channels(origin.node):
            if origin.node.op_type not in ("Conv", "LeakyRelu", "Relu"):
                multiple = BLOCK
            origin = self.maps.owner(int(self.maps.of[origin.node.input[0]][0]))
        return multiple

    def _fill_reads(self) -> None:
        """Fills zeros into a piece that only one node reads until that node's number of channels fits."""
        for read in self._reads:
            pieces = self.find(read.numbers) if read.any_order else []
            own = [piece for piece in pieces if piece.readers == (read.place,)]
            if len(pieces) > 1 and own:
                own[-1].numbers += [ZERO] * (-sum(len(piece.numbers) for piece in pieces) % read.multiple)
