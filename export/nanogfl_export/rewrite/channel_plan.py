"""Which channels lie together: every computed feature map's channels in the order in which they are read."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from nanogfl_export.rewrite.channel_maps import ChannelMaps, Origin, is_depthwise
from nanogfl_export.rewrite.view import GraphView

CONV_MULTIPLE = 4
"""onnxruntime computes a convolution in its blocked layout where the number of input channels is a multiple of this"""
BLOCK = 16
"""and a pooling or a resize where it is a multiple of the block: 16 with AVX-512 and NEON, 8 with AVX2"""
ZERO = -1
"""the number of a channel that is zero and read with zero weights"""


@dataclass(frozen=True)
class Read:
    """A node's input, or an output of the graph, made of channels."""

    place: int
    """of the node in the graph"""
    numbers: NDArray[np.int64]
    multiple: int
    """what the number of channels should be a multiple of; 0: they are needed just as they were"""

    @property
    def any_order(self) -> bool:
        return self.multiple > 0


@dataclass
class Piece:
    """Channels of one map that lie together because the same nodes read them: a tensor of the rewritten graph."""

    tensor: str
    numbers: list[int]
    readers: tuple[int, ...] = ()


class ChannelPlan:
    """`pieces[map]`: how the channels of each computed map lie; `live`: the places of the nodes still needed."""

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
        for origin in reversed(self.maps.origins):  # latest first: an order may be taken over from a reader
            self._lay_out(origin)
        self._fill_reads()
        for origin in reversed(self.maps.origins):
            self._follow(origin)  # what was filled up since

    def origin_of(self, node: onnx.NodeProto) -> Origin | None:
        """The map that this node computes, if it is one."""
        name = node.output[0]
        return (
            None if name in self.maps.moves or name not in self.maps.of else self.maps.owner(int(self.maps.of[name][0]))
        )

    def tensor_of(self, origin: Origin) -> str:
        """What the map is called in the rewritten graph; an output of the graph keeps its name for the right order."""
        return f"{origin.name}_routed" if origin.name in self.view.outputs else origin.name

    def keeps_channels(self, node: onnx.NodeProto) -> bool:
        """Does it compute channel by channel?"""
        return node.op_type != "Conv" or is_depthwise(node, self.view)

    def find(self, numbers: Iterable[int]) -> list[Piece]:
        """The pieces with these channels, in the order in which they are first asked for, but for channels that nobody
        needs in the end; [] where a map is not laid out."""
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
        """Does no channel occur twice?"""
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
        """A map that is read by one node alone, which keeps its channels apart, lies as that node's output does."""
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
        """May its channels lie in any order? A convolution's may. Those of a map made channel by channel lie as they
        come in, which may be chosen if they come from one whole map that nothing else reads."""
        if not self.keeps_channels(origin.node):
            return True
        numbers = self.maps.of[origin.node.input[0]]
        owner = self.maps.owner(int(numbers[0]))
        return list(numbers) == owner.numbers and len(self._readers[owner.name]) == 1 and self._free(owner)

    def _chain_multiple(self, origin: Origin) -> int:
        """What the operators want that made this map, channel by channel, from a convolution's output."""
        multiple = CONV_MULTIPLE
        while self.keeps_channels(origin.node):
            if origin.node.op_type not in ("Conv", "LeakyRelu", "Relu"):
                multiple = BLOCK
            origin = self.maps.owner(int(self.maps.of[origin.node.input[0]][0]))
        return multiple

    def _fill_reads(self) -> None:
        """Zeros into a part that this reader alone takes, until the number of channels that it reads fits."""
        for read in self._reads:
            pieces = self.find(read.numbers) if read.any_order else []
            own = [piece for piece in pieces if piece.readers == (read.place,)]
            if len(pieces) > 1 and own:
                own[-1].numbers += [ZERO] * (-sum(len(piece.numbers) for piece in pieces) % read.multiple)
