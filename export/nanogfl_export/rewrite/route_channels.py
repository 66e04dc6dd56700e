"""Channel shuffles become an order of weights: writes the graph that `channel_plan` has laid out.

`sequence` shows it before and after. Every convolution writes its channels in the order of their readers. One Split,
contiguous in memory, hands each piece to its readers, whose weights are permuted to the order in which pieces arrive.
"""

from typing import Any

import numpy as np
import onnx
from onnx import helper

from nanogfl_export.rewrite.channel_maps import Origin, is_depthwise
from nanogfl_export.rewrite.channel_plan import ZERO, ChannelPlan, Piece
from nanogfl_export.rewrite.view import Array, GraphView, with_inputs


def route_channels(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network without channel shuffles. Equal outputs, up to the order in which sums are taken."""
    return _Writer(GraphView(model)).write()


class _Writer:
    def __init__(self, view: GraphView) -> None:
        self.view = view
        self.plan = ChannelPlan(view)
        self.of = self.plan.maps.of
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def write(self) -> onnx.ModelProto:
        for place, node in enumerate(self.view.graph.node):
            if place not in self.plan.live:
                continue
            origin = self.plan.origin_of(node)
            if origin is not None:
                self._compute(node, origin)
            else:
                inputs = [self._as_it_was(name, place) if name in self.of else name for name in node.input]
                self.nodes.append(with_inputs(node, inputs))
        for name in sorted(self.view.outputs & self.of.keys()):
            tensor = self._as_it_was(name, len(self.view.graph.node))
            if tensor != name:
                self._add("Identity", [tensor], [name])
        return self.view.finish(self.nodes, self.constants)

    def _compute(self, node: onnx.NodeProto, origin: Origin) -> None:
        tensor, numbers = self._channels_for(node)
        pieces = self.plan.pieces.setdefault(origin.name, [])
        if self.plan.keeps_channels(node):
            read = self.of[node.input[0]]
            own = {int(number): origin.first + index for index, number in enumerate(read)}
            order = [own.get(number, ZERO) for number in numbers] if numbers else origin.numbers
            if not pieces:  # its channels lie as they come in
                pieces.append(Piece(self.plan.tensor_of(origin), order))
        else:
            order = [number for piece in pieces for number in piece.numbers]
        output = pieces[0].tensor if len(pieces) == 1 else f"{origin.name}_parts"
        inputs = [tensor, *node.input[1:]]
        group = {}
        if node.op_type == "Conv":
            depthwise = is_depthwise(node, self.view)
            inputs[1:] = self._weights(node, origin, numbers, order, depthwise)
            group = {"group": len(order) if depthwise else 1}
        computed = with_inputs(node, inputs, **group)
        computed.name = computed.output[0] = output
        self.nodes.append(computed)
        if len(pieces) > 1:
            self.constants[f"{output}_sizes"] = np.array([len(piece.numbers) for piece in pieces])
            self._add("Split", [output, f"{output}_sizes"], [piece.tensor for piece in pieces], axis=1)

    def _weights(
        self, node: onnx.NodeProto, origin: Origin, numbers: list[int], order: list[int], depthwise: bool
    ) -> list[str]:
        """Names of weight and bias for channels `numbers` in and `order` out."""
        weight = self.view.constants[node.input[1]]
        bias = self.view.constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight), weight.dtype)
        rows = [ZERO if number == ZERO else number - origin.first for number in order]
        weight, bias = _take(weight, rows, 0), _take(bias, rows, 0)
        if not depthwise and numbers:
            column = {int(number): index for index, number in enumerate(self.of[node.input[0]])}
            weight = _take(weight, [column.get(number, ZERO) for number in numbers], 1)
        names = [f"{origin.name}_weight", f"{origin.name}_bias"]
        self.constants.update(zip(names, (weight, bias), strict=True))
        return names

    def _channels_for(self, node: onnx.NodeProto) -> tuple[str, list[int]]:
        """A tensor with the channels that the node reads, and their numbers; [] where they are in the old order."""
        name = node.input[0]
        if name not in self.of:
            return name, []  # the picture
        if not self.plan.distinct(name):
            return self._as_it_was(name, len(self.nodes)), []
        pieces = self.plan.find(self.of[name])
        numbers = [number for piece in pieces for number in piece.numbers]
        if len(pieces) == 1:
            return pieces[0].tensor, numbers
        joined = f"{node.output[0]}_in"
        self._add("Concat", [piece.tensor for piece in pieces], [joined], axis=1)
        return joined, numbers

    def _as_it_was(self, name: str, place: int) -> str:
        """A tensor with the channels of `name` in the order of the old graph."""
        wanted = [int(number) for number in self.of[name]]
        pieces = self.plan.find(wanted)
        numbers = [number for piece in pieces for number in piece.numbers]
        tensor = pieces[0].tensor
        if len(pieces) > 1:
            tensor = f"{name}_joined{place}"
            self._add("Concat", [piece.tensor for piece in pieces], [tensor], axis=1)
        if numbers != wanted:
            index, ordered = f"{name}_order{place}", f"{name}_ordered{place}"
            self.constants[index] = np.array([numbers.index(number) for number in wanted])
            self._add("Gather", [tensor, index], [ordered], axis=1)
            tensor = ordered
        return tensor

    def _add(self, op_type: str, inputs: list[str], outputs: list[str], **settings: Any) -> None:
        self.nodes.append(
            helper.make_node(op_type, inputs, outputs, name=f"{op_type.lower()}_{outputs[0]}", **settings)
        )


def _take(values: Array, places: list[int], axis: int) -> Array:
    """`values` at these places along the axis; zeros where the place is ZERO."""
    taken = np.take(values, [max(place, 0) for place in places], axis)
    shape = [-1 if dimension == axis else 1 for dimension in range(values.ndim)]
    return np.where(np.reshape(np.array(places) == ZERO, shape), np.zeros((), values.dtype), taken)
