"""Constant factors and offsets move into the weights and biases of the convolution beside them."""

import numpy as np
import onnx

from nanogfl_export.rewrite.view import GraphView, attributes, with_inputs


def fold_batch_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """Conv -> BatchNormalization becomes one Conv. torch's exporter does most of it; this takes the rest."""
    view = GraphView(model)
    nodes, constants = list(view.graph.node), {}
    for norm in view.find("BatchNormalization"):
        conv = view.producers.get(norm.input[0])
        if conv is None or conv.op_type != "Conv" or view.only_reader(conv.output[0], "BatchNormalization") is None:
            continue
        if not all(name in view.constants for name in (*conv.input[1:], *norm.input[1:])):
            continue
        scale, shift, mean, variance = (view.constants[name].astype(np.float64) for name in norm.input[1:])
        factor = scale / np.sqrt(variance + attributes(norm).get("epsilon", 1e-5))
        weight = view.constants[conv.input[1]]
        bias = view.constants[conv.input[2]] if len(conv.input) > 2 else np.zeros(len(weight), weight.dtype)
        names = [f"{norm.output[0]}_weight", f"{norm.output[0]}_bias"]
        constants[names[0]] = (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
        constants[names[1]] = ((bias - mean) * factor + shift).astype(weight.dtype)
        folded = with_inputs(conv, [conv.input[0], *names])
        folded.output[0] = norm.output[0]
        nodes[nodes.index(conv)] = folded
        nodes.remove(norm)
    return view.finish(nodes, constants)


def fold_input_scale(model: onnx.ModelProto) -> onnx.ModelProto:
    """Div by one constant per channel -> Conv becomes a Conv with divided weights.

    The mean cannot move into the bias: at a padded border the network sees zero, not minus the mean.
    """
    view = GraphView(model)
    nodes, constants = list(view.graph.node), {}
    for division in view.find("Div"):
        scale = view.constants.get(division.input[1])
        conv = view.only_reader(division.output[0], "Conv")
        if scale is None or conv is None or conv.input[1] not in view.constants:
            continue
        weight = view.constants[conv.input[1]]
        if scale.shape != (1, weight.shape[1], 1, 1):
            continue  # a grouped convolution's, too
        name = f"{conv.output[0]}_scaled"
        constants[name] = (weight / scale.astype(np.float64)).astype(weight.dtype)
        nodes[nodes.index(conv)] = with_inputs(conv, [division.input[0], name, *conv.input[2:]])
        nodes.remove(division)
    return view.finish(nodes, constants)
