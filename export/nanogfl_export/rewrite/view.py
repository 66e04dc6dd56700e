"""Look-ups that rewrites need in a graph: which node makes a tensor, which read it, its shape, its constant value."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]


class GraphView:
    """A copy of a model, with look-ups that hold until it is changed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.shape_inference.infer_shapes(model)
        self.graph = self.model.graph
        self.constants: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        self.outputs = {value.name for value in self.graph.output}
        self.producers: dict[str, onnx.NodeProto] = {}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.graph.node:
            self.producers.update(dict.fromkeys(node.output, node))
            for name in node.input:
                self.readers[name].append(node)
        self._shapes = {
            value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in (*self.graph.input, *self.graph.value_info, *self.graph.output)
        }

    def shape(self, name: str) -> tuple[int, ...]:
        """The sizes, 0 for a free one (the batch); () where the shape is not known."""
        return self._shapes.get(name, ())

    def only_reader(self, name: str, op_type: str) -> onnx.NodeProto | None:
        """The only node that reads this tensor, if it has that type and the tensor is no output of the graph."""
        readers = self.readers[name]
        fits = len(readers) == 1 and readers[0].op_type == op_type and name not in self.outputs
        return readers[0] if fits else None

    def find(self, op_type: str) -> list[onnx.NodeProto]:
        return [node for node in self.graph.node if node.op_type == op_type]

    def finish(
        self, nodes: Iterable[onnx.NodeProto] | None = None, constants: dict[str, Array] | None = None
    ) -> onnx.ModelProto:
        """The model with these nodes (default: its own) in topological order and these additional constants.

        Nodes and constants that no output needs are dropped.
        """
        merged = {**self.constants, **(constants or {})}
        ordered = _in_order(list(self.graph.node if nodes is None else nodes), self.outputs)
        used = {name for node in ordered for name in node.input}
        del self.graph.node[:], self.graph.initializer[:], self.graph.value_info[:]
        self.graph.node.extend(ordered)
        self.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value, order="C"), name)
            for name, value in merged.items()
            if name in used
        )
        return onnx.shape_inference.infer_shapes(self.model)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def with_inputs(node: onnx.NodeProto, inputs: Sequence[str], **changed: Any) -> onnx.NodeProto:
    """The same node with other inputs and some attributes changed."""
    return helper.make_node(
        node.op_type,
        list(inputs),
        list(node.output),
        name=node.name,
        domain=node.domain,
        **{**attributes(node), **changed},
    )


def _in_order(nodes: list[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """The nodes that the outputs need, each behind those that it reads from."""
    producers = {name: index for index, node in enumerate(nodes) for name in node.output}
    ordered: list[onnx.NodeProto] = []
    begun: set[int] = set()
    done: set[int] = set()
    for output in sorted(outputs, key=lambda name: producers.get(name, -1)):
        stack = [producers[output]] if output in producers else []
        while stack:
            index = stack[-1]
            waits_for = [] if index in begun else [producers[n] for n in reversed(nodes[index].input) if n in producers]
            missing = [other for other in waits_for if other not in done]
            assert not begun.intersection(missing) - done, f"{nodes[index].name} waits for itself"
            begun.add(index)
            stack += missing
            if not missing:
                stack.pop()
                if index not in done:
                    done.add(index)
                    ordered.append(nodes[index])
    return ordered
