"""Changes in a graph by what it is: its outputs, operators and constants, found from the outputs upwards.

Whatever is not found raises `DoesNotApplyError`: what changes nothing must not count as refused.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from tests.export.sabotage.subject import SELECTION, SPEC

Array = NDArray[Any]
ROWS = ("boxes", "scores", "labels", "spread", "distributions", "points")


class DoesNotApplyError(AssertionError):
    """The graph has no such place."""


class Surgery:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        del self.graph.value_info[:]  # a cut may change types and shapes, which are then inferred anew
        self._grafts = itertools.count()

    @property
    def graph(self) -> onnx.GraphProto:
        return self.model.graph

    # --- looking ------------------------------------------------------------------------------------------------------

    @property
    def outputs(self) -> list[str]:
        return [value.name for value in self.graph.output]

    @property
    def rows(self) -> list[str]:
        """The outputs that have a line per row, or per point."""
        return [name for name in ROWS if name in self.outputs]

    def producer(self, tensor: str) -> onnx.NodeProto:
        return _one([node for node in self.graph.node if tensor in node.output], f"a node that makes {tensor}")

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        return [node for node in self.graph.node if tensor in node.input]

    def only(self, op_type: str) -> onnx.NodeProto:
        return _one([node for node in self.graph.node if node.op_type == op_type], f"one {op_type}")

    def all(self, op_type: str) -> list[onnx.NodeProto]:
        nodes = [node for node in self.graph.node if node.op_type == op_type]
        _demand(bool(nodes), f"any {op_type}")
        return nodes

    def upwards(self, tensor: str) -> Iterator[onnx.NodeProto]:
        """The nodes that it is computed from, the nearest first."""
        makers = {name: node for node in self.graph.node for name in node.output}
        seen, queue = set(), [tensor]
        for name in queue:  # grows
            node = makers.get(name)
            if node is not None and id(node) not in seen:
                seen.add(id(node))
                yield node
                queue.extend(node.input)

    def nearest(self, tensor: str, op_type: str) -> onnx.NodeProto:
        found = next((node for node in self.upwards(tensor) if node.op_type == op_type), None)
        if found is None:
            raise DoesNotApplyError(f"{tensor} is computed without {op_type}")
        return found

    def constant(self, name: str) -> Array:
        tensors = [tensor for tensor in self.graph.initializer if tensor.name == name]
        _demand(len(tensors) == 1, f"a constant {name}")
        return numpy_helper.to_array(tensors[0])

    def constants(self, fits: Callable[[Array], bool]) -> dict[str, Array]:
        """Those whose value fits; at least one."""
        every = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.graph.initializer}
        found = {name: value for name, value in every.items() if fits(value)}
        _demand(bool(found), "a constant of that kind")
        return found

    # --- cutting ------------------------------------------------------------------------------------------------------

    def change(self, name: str, value: Array) -> None:
        """A constant's value, wherever it is read."""
        old = self.constant(name)
        value = np.asarray(value, dtype=old.dtype)
        _demand(value.shape == old.shape and not np.array_equal(old, value, equal_nan=True), f"a difference in {name}")
        tensor = next(tensor for tensor in self.graph.initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))

    def change_all(self, fits: Callable[[Array], bool], to: Callable[[Array], Array]) -> None:
        for name, value in self.constants(fits).items():
            self.change(name, to(value))

    def give(self, node: onnx.NodeProto, position: int, value: Array) -> None:
        """A constant of its own for this input of the node."""
        name = f"sabotage{next(self._grafts)}_constant"
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        node.input[position] = name

    def rewire(self, tensor: str, body: str, **constants: Any) -> None:
        """`body` computes `wrong` from `right`, the tensor; whoever reads the tensor reads the wrong one."""
        if tensor in {value.name for value in self.graph.input}:
            readers = self.readers(tensor)
            _demand(bool(readers), f"a reader of {tensor}")
            wrong = f"wrong_{tensor}"
            for node in readers:
                node.input[:] = [wrong if name == tensor else name for name in node.input]
            self._graft(_named(body, {"right": tensor, "wrong": wrong}), {wrong}, constants)
            return
        right = self._set_aside(tensor)
        self._graft(_named(body, {"right": right, "wrong": tensor}), {tensor}, constants)

    def replace(self, body: str, **constants: Any) -> None:
        """`body` computes outputs of the graph anew, from right_boxes, right_scores, ...: what they were."""
        made = set(re.findall(r"(\w+)\s*=\s*\w+\s*[(<]", body)) & set(self.outputs)
        _demand(bool(made), "an output in the body")
        used = {name for name in self.outputs if re.search(rf"\bright_{name}\b", body)}
        for name in sorted(made):
            self._set_aside(name)
        self._graft(_named(body, {f"right_{name}": name for name in used - made}), made, constants)

    def _set_aside(self, tensor: str) -> str:
        node, right = self.producer(tensor), f"right_{tensor}"
        node.output[:] = [right if name == tensor else name for name in node.output]
        if tensor in self.outputs:  # nodes that read the output keep reading the right value
            for reader in self.readers(tensor):
                reader.input[:] = [right if name == tensor else name for name in reader.input]
        return right

    def _graft(self, body: str, made: set[str], constants: dict[str, Any]) -> None:
        graph = parser.parse_graph("sabotage (float[1] image) => (float[1] image) {" + body + "}")
        prefix = f"sabotage{next(self._grafts)}_"
        its_own = constants.keys() | ({name for node in graph.node for name in node.output} - made)
        for name, value in constants.items():
            self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), prefix + name))
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [prefix + name if name in its_own else name for name in names]
        self.graph.node.extend(graph.node)
        self._sort()

    def _sort(self) -> None:
        ready = {value.name for value in (*self.graph.input, *self.graph.initializer)} | {""}
        waiting, ordered = list(self.graph.node), []
        while waiting:
            left = []
            for node in waiting:
                if ready.issuperset(node.input):
                    ready.update(node.output)
                    ordered.append(node)
                else:
                    left.append(node)
            _demand(len(left) < len(waiting), f"an order of {[node.name for node in left[:3]]}")
            waiting = left
        del self.graph.node[:]
        self.graph.node.extend(ordered)

    # --- places that several corruptions share ------------------------------------------------------------------------

    @property
    def suppression(self) -> onnx.NodeProto:
        """boxes, scores, most, IoU, score"""
        return self.only("NonMaxSuppression")

    def bins(self) -> dict[str, Array]:
        """0, 1, 2 ... of the distributions' expectation."""
        return self.constants(lambda value: value.size > 2 and np.array_equal(value.ravel(), np.arange(value.size)))

    def limits(self, value: float) -> dict[str, Array]:
        """A number of the selection, as the graph holds it."""
        return self.constants(lambda constant: constant.size == 1 and constant.item() == np.float32(value))


def own(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _named(body: str, names: dict[str, str]) -> str:
    for name, tensor in names.items():
        body = re.sub(rf"\b{name}\b", tensor, body)
    return body


def _one(found: list[onnx.NodeProto], what: str) -> onnx.NodeProto:
    _demand(len(found) == 1, what)
    return found[0]


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise DoesNotApplyError(f"this graph does not have {what}")


HW, KEEP, CANDIDATES = SPEC.hw, SELECTION.keep, SELECTION.candidates
