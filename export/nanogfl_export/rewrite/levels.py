"""The network's outputs: every level's class logits and box predictions are written where they are read."""

import numpy as np
import onnx
from onnx import helper

from nanogfl_export.rewrite.view import GraphView, attributes, with_inputs


def write_levels_in_place(model: onnx.ModelProto) -> onnx.ModelProto:
    """Removes the transpose and split of all levels together.

    Before: one Conv per level -> Reshape (B, A, h w) -> Concat -> Transpose (B, N, A) -> Split at a. After: two Convs
    per level, of a and of A - a channels, each channels-last -> Reshape (B, h w, .) -> Concat (B, N, .). onnxruntime
    writes a convolution's blocked output channels-last at no extra cost.
    """
    view = GraphView(model)
    for split in view.find("Split"):
        transpose = view.producers.get(split.input[0])
        concat = view.producers.get(transpose.input[0]) if transpose is not None else None
        sizes = view.constants.get(split.input[1]) if len(split.input) > 1 else None
        if transpose is None or concat is None or sizes is None or transpose.op_type != "Transpose":
            continue
        convs = [_level(view, name) for name in concat.input]
        fits = concat.op_type == "Concat" and attributes(concat)["axis"] == 2
        if (
            not fits
            or list(attributes(transpose).get("perm", [])) != [0, 2, 1]
            or attributes(split).get("axis", 0) != 2
        ):
            continue
        levels = [conv for conv in convs if conv is not None]
        if len(levels) < len(convs):
            continue
        constants: dict[str, np.ndarray] = {}
        nodes = [node for node in view.graph.node if node is not split]
        ends = np.cumsum(sizes)
        for output, start, end in zip(split.output, ends - sizes, ends, strict=True):
            parts = []
            for conv in levels:
                part = f"{conv.output[0]}_from{start}"
                weight, bias = (view.constants[name][start:end] for name in conv.input[1:])
                _, _, height, width = view.shape(conv.output[0])
                constants |= {
                    f"{part}_weight": weight,
                    f"{part}_bias": bias,
                    f"{part}_shape": np.array([view.shape(conv.output[0])[0] or -1, height * width, end - start]),
                }
                alone = with_inputs(conv, [conv.input[0], f"{part}_weight", f"{part}_bias"])
                alone.name = alone.output[0] = part
                nodes += [
                    alone,
                    helper.make_node("Transpose", [part], [f"{part}_last"], name=f"{part}_last", perm=[0, 2, 3, 1]),
                    helper.make_node(
                        "Reshape", [f"{part}_last", f"{part}_shape"], [f"{part}_flat"], name=f"{part}_flat"
                    ),
                ]
                parts.append(f"{part}_flat")
            nodes.append(helper.make_node("Concat", parts, [output], name=f"{output}_levels", axis=1))
        return view.finish(nodes, constants)
    return model


def _level(view: GraphView, name: str) -> onnx.NodeProto | None:
    """The convolution before a level's Reshape to (B, A, h w), if nothing else reads it."""
    reshape = view.producers.get(name)
    conv = view.producers.get(reshape.input[0]) if reshape is not None and reshape.op_type == "Reshape" else None
    if conv is None or conv.op_type != "Conv" or view.only_reader(conv.output[0], "Reshape") is None:
        return None
    known = len(conv.input) == 3 and all(n in view.constants for n in conv.input[1:])
    whole = known and attributes(conv).get("group", 1) == 1
    _, channels, *hw = view.shape(conv.output[0])
    return conv if whole and view.shape(name)[1:] == (channels, int(np.prod(hw))) else None
