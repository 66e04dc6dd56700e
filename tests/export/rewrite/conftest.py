"""Small graphs to rewrite, and what they compute."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

OPSET = 18


class Graph:
    """Nodes one after another; every method returns the name of the tensor (or names) that it adds."""

    def __init__(self, *shape, batch="B", kind=TensorProto.FLOAT, seed=0):
        """Input `x` (batch, *shape); `batch` is a number or the name of a free one."""
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants = [], []
        self.inputs = [helper.make_tensor_value_info("x", kind, [batch, *shape])]

    def constant(self, value):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weights(self, *shape):
        """So large that values keep their size from convolution to convolution."""
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        return self.constant(self.random.normal(0, scale, shape).astype(np.float32))

    def add(self, op_type, *inputs, count=1, **settings):
        place = len(self.nodes)
        names = [f"{op_type.lower()}{place}" + (f"_{index}" if count > 1 else "") for index in range(count)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=f"n{place}", **settings))
        return names if count > 1 else names[0]

    def conv(self, x, into, out, kernel=3, bias=True, **settings):
        """(B, into, H, W) -> (B, out, H, W)"""
        weights = [self.weights(out, into // settings.get("group", 1), kernel, kernel)]
        weights += [self.weights(out)] if bias else []
        settings = {"pads": [kernel // 2] * 4, "kernel_shape": [kernel, kernel], **settings}
        return self.add("Conv", x, *weights, **settings)

    def depthwise(self, x, count, kernel=3, **settings):
        return self.conv(x, count, count, kernel, group=count, **settings)

    def reshape(self, x, *sizes):
        return self.add("Reshape", x, self.constant(np.array(sizes)))

    def shuffle(self, x, count, groups, height, width):
        """ShuffleNet's, as torch's exporter writes it: channel c goes to (c mod count / groups) groups + its group."""
        apart = self.reshape(x, -1, groups, count // groups, height, width)
        return self.reshape(self.add("Transpose", apart, perm=[0, 2, 1, 3, 4]), -1, count, height, width)

    def split(self, x, *sizes, axis=1):
        return self.add("Split", x, self.constant(np.array(sizes)), count=len(sizes), axis=axis)

    def model(self, *outputs, kind=TensorProto.FLOAT):
        """A model that passes the checker."""
        declared = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "small", self.inputs, declared, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)  # gives the outputs their shapes
        del model.graph.value_info[:]
        onnx.checker.check_model(model, full_check=True)
        return model


def operators(model):
    """How many there are of each."""
    return Counter(node.op_type for node in model.graph.node)


def run(model, *values):
    """The outputs by onnxruntime, for the inputs in their order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([value.name for value in session.get_inputs()], values, strict=True)))


def run_reference(model, *values):
    """The same by onnx's own evaluator, which is written in numpy and optimizes nothing."""
    names = [value.name for value in model.graph.input]
    return ReferenceEvaluator(model).run(None, dict(zip(names, values, strict=True)))


def picture(model, seed=0, batch=2):
    """Random values for the model's input; `batch` where it is free."""
    tensor = model.graph.input[0].type.tensor_type
    shape = [dim.dim_value or batch for dim in tensor.shape.dim]
    random = np.random.default_rng(seed)
    if tensor.elem_type == TensorProto.UINT8:
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.normal(0, 1, shape).astype(np.float32)


def assert_equal_outputs(model, rewritten, tolerance=1e-5, reference=False):
    """Same inputs, same output names, and values that differ by no more than `tolerance` of the output's largest.

    1e-5: a rewrite may take the sum of a convolution in another order, which float32 (6e-8) answers with some ulp.
    """
    onnx.checker.check_model(rewritten, full_check=True)
    assert [v.name for v in rewritten.graph.input] == [v.name for v in model.graph.input]
    assert [v.name for v in rewritten.graph.output] == [v.name for v in model.graph.output]
    value = picture(model)
    expected = run(model, value)
    for evaluate in (run, run_reference) if reference else (run,):
        for name, before, after in zip(rewritten.graph.output, expected, evaluate(rewritten, value), strict=True):
            assert after.dtype == before.dtype
            assert np.isfinite(before).all()
            limit = tolerance * max(float(np.abs(before).max()), 1e-3)
            np.testing.assert_allclose(after, before, rtol=0, atol=limit, err_msg=name.name)


def assert_left_alone(rewrite, model):
    """The rewrite finds nothing to do: the same nodes and constants, in whatever order."""
    rewritten = rewrite(model)

    def content(graph):
        nodes = sorted(node.SerializeToString(deterministic=True) for node in graph.node)
        return nodes, sorted(tensor.SerializeToString(deterministic=True) for tensor in graph.initializer)

    assert content(rewritten.graph) == content(model.graph)
    assert_equal_outputs(model, rewritten, tolerance=0)
