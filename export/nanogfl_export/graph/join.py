"""Graphs are joined by the names of their tensors."""

from collections.abc import Mapping, Sequence

import onnx
from onnx import compose

from nanogfl_export.rewrite.view import GraphView


def join(models: Sequence[onnx.ModelProto], outputs: Sequence[str]) -> onnx.ModelProto:
    """One graph with these outputs. A tensor that one part declares as output is another's input of the same name; what
    no part delivers is an input of the graph. Other names belong to their part. Nodes that no output needs are left
    out."""
    joined = onnx.ModelProto()
    joined.CopyFrom(models[0])
    declared = {value.name: value for model in models for value in model.graph.output}
    made = {name for model in models for node in model.graph.node for name in node.output}
    inputs: dict[str, onnx.ValueInfoProto] = {}
    for model in models:
        inputs |= {value.name: value for value in model.graph.input if value.name not in made}
    for model in models[1:]:
        own = compose.add_prefix(model, f"{model.graph.name}_", rename_inputs=False, rename_outputs=False)
        joined.graph.node.extend(own.graph.node)
        joined.graph.initializer.extend(own.graph.initializer)
    del joined.graph.output[:], joined.graph.value_info[:], joined.graph.input[:]
    joined.graph.output.extend(declared[name] for name in outputs)
    joined.graph.input.extend(inputs.values())
    model = GraphView(joined).finish()
    read = {name for node in model.graph.node for name in node.input}
    for value in [value for value in model.graph.input if value.name not in read]:
        model.graph.input.remove(value)
    return model


def renamed(model: onnx.ModelProto, graph_name: str, names: Mapping[str, str]) -> onnx.ModelProto:
    """A copy with another name of the graph and of these tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.name = graph_name
    rename_values(copy.graph, names)
    return copy


def rename_values(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Renames tensors wherever they are made, used or declared."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
