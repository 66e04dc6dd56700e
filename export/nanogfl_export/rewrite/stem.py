"""The network's input: interleaved pixels are read as they lie; the first activation moves behind the pooling."""

import numpy as np
import onnx
from onnx import helper

from nanogfl_export.rewrite.view import Array, GraphView, attributes, with_inputs


def read_interleaved_pixels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Removes the transpose in Transpose (NHWC to NCHW) -> Cast -> Sub mean -> Conv.

    A row of an interleaved picture, b g r b g r ..., is a row of a picture with one channel and 3 W columns. A k x k
    convolution of three channels with stride s is a k x 3k convolution of that picture with stride (s, 3s) and
    interleaved weights.
    """
    view = GraphView(model)
    for transpose in view.find("Transpose"):
        if list(attributes(transpose).get("perm", [])) != [0, 3, 1, 2]:
            continue
        cast = view.only_reader(transpose.output[0], "Cast")
        sub = view.only_reader(cast.output[0], "Sub") if cast is not None else None
        conv = view.only_reader(sub.output[0], "Conv") if sub is not None else None
        if cast is None or sub is None or conv is None:
            continue
        mean, weight = view.constants.get(sub.input[1]), view.constants.get(conv.input[1])
        batch, height, width, channels = view.shape(transpose.input[0])
        settings = attributes(conv)
        if mean is None or weight is None or mean.shape[-3:] != (channels, 1, 1) or weight.shape[1] != channels:
            continue
        if (
            any(step != 1 for step in settings.get("dilations", [1, 1]))
            or settings.get("auto_pad", b"NOTSET") != b"NOTSET"
        ):
            continue
        (step_y, step_x), pads = settings.get("strides", [1, 1]), settings.get("pads", [0, 0, 0, 0])
        top, left, bottom, right = pads
        filters, _, rows, columns = weight.shape
        flat, shape, row_mean, kernel = (f"{conv.output[0]}_{part}" for part in ("rows", "shape", "mean", "kernel"))
        constants = {
            shape: np.array([batch or -1, 1, height, width * channels]),
            row_mean: np.tile(mean.reshape(-1), width).reshape(1, 1, 1, -1),
            kernel: weight.transpose(0, 2, 3, 1).reshape(filters, 1, rows, columns * channels),
        }
        nodes = list(view.graph.node)
        nodes[nodes.index(transpose)] = helper.make_node("Reshape", [transpose.input[0], shape], [flat], name=flat)
        nodes[nodes.index(cast)] = with_inputs(cast, [flat])
        nodes[nodes.index(sub)] = with_inputs(sub, [cast.output[0], row_mean])
        nodes[nodes.index(conv)] = with_inputs(
            conv, [sub.output[0], kernel, *conv.input[2:]], group=1, kernel_shape=[rows, columns * channels],
            strides=[step_y, step_x * channels], pads=[top, left * channels, bottom, right * channels],
        )  # fmt: skip
        return view.finish(nodes, constants)
    return model


def activate_after_pooling(model: onnx.ModelProto) -> onnx.ModelProto:
    """LeakyRelu -> MaxPool becomes MaxPool -> LeakyRelu, on a quarter as many values.

    The activation rises, so that the largest value stays the largest, to the bit. Relu costs nothing inside a
    convolution and stays. onnxruntime computes a LeakyRelu in blocked layout only behind a convolution, so an identity
    convolution is put before it.
    """
    view = GraphView(model)
    nodes = list(view.graph.node)
    constants: dict[str, Array] = {}
    for leaky in view.find("LeakyRelu"):
        pool = view.only_reader(leaky.output[0], "MaxPool")
        shape = view.shape(leaky.output[0])
        if pool is None or len(pool.output) > 1 or len(shape) != 4 or attributes(leaky).get("alpha", 0.01) < 0:
            continue
        name, count = pool.output[0], shape[1]
        constants |= {f"{name}_one": np.ones((count, 1, 1, 1), np.float32), f"{name}_zero": np.zeros(count, np.float32)}
        pooled = with_inputs(pool, [leaky.input[0]])
        pooled.output[0] = f"{name}_pooled"
        same = helper.make_node(
            "Conv", [f"{name}_pooled", f"{name}_one", f"{name}_zero"], [f"{name}_same"], name=f"{name}_same",
            group=count, kernel_shape=[1, 1],
        )  # fmt: skip
        activated = with_inputs(leaky, [f"{name}_same"])
        activated.output[0] = name
        nodes[nodes.index(pool)] = pooled
        nodes[nodes.index(leaky)] = same
        nodes.append(activated)
    return view.finish(nodes, constants)
