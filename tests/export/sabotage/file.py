"""A file that is another thing than its contract says: declared types, names, operators, weights elsewhere."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.export.sabotage.attempt import EVERY, IN_ROWS, Corruption
from tests.export.sabotage.rows import outputs
from tests.export.sabotage.surgery import Surgery


def older_operators(graph: Surgery) -> None:
    graph.model.opset_import[0].version = 13


def foreign_operators(graph: Surgery) -> None:
    graph.model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _output(graph: Surgery, name: str) -> onnx.ValueInfoProto:
    return next(value for value in graph.graph.output if value.name == name)


def half_scores(graph: Surgery) -> None:
    graph.replace("scores = Cast <to = 10> (right_scores)")
    _output(graph, "scores").type.tensor_type.elem_type = TensorProto.FLOAT16


def short_labels(graph: Surgery) -> None:
    graph.replace("labels = Cast <to = 6> (right_labels)")
    _output(graph, "labels").type.tensor_type.elem_type = TensorProto.INT32


def free_rows(graph: Surgery) -> None:
    _output(graph, "boxes").type.tensor_type.shape.dim[1].dim_param = "rows"


def without_spread(graph: Surgery) -> None:
    graph.graph.output.remove(_output(graph, "spread"))


def one_more_output(graph: Surgery) -> None:
    graph.graph.output.append(helper.make_tensor_value_info("wide", TensorProto.INT64, [1]))
    graph._graft("wide = Shape <start = 0, end = 1> (boxes)", {"wide"}, {})


def renamed_input(graph: Surgery) -> None:
    for node in graph.graph.node:
        node.input[:] = ["picture" if name == "image" else name for name in node.input]
    graph.graph.input[0].name = "picture"


def float_input(graph: Surgery) -> None:
    graph.rewire("image", "wrong = Cast <to = 2> (right)")
    graph.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def two_pictures(graph: Surgery) -> None:
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def weights_elsewhere(graph: Surgery) -> None:
    tensor = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="weights.bin")


def untyped_operator(graph: Surgery) -> None:
    graph.all("Conv")[0].op_type = "Convolution"


def outputs_swapped(graph: Surgery) -> None:
    """Each under the other's name."""
    graph.replace("boxes = Mul(right_spread, f) spread = Mul(right_boxes, f)", f=np.float32([1]))


TABLE = [
    Corruption("file: operators of opset 13", "graph", EVERY, older_operators),
    Corruption("file: a second set of operators", "graph", EVERY, foreign_operators),
    Corruption("file: scores declared fp16", "graph", EVERY, half_scores),
    Corruption("file: labels declared int32", "graph", IN_ROWS, short_labels),
    Corruption("file: a free number of rows", "graph", EVERY, free_rows),
    Corruption("file: no spread", "graph", EVERY, without_spread),
    Corruption("file: an output too many", "graph", EVERY, one_more_output),
    Corruption("file: another name of the input", "graph", EVERY, renamed_input),
    Corruption("file: input of float", "graph", EVERY, float_input),
    Corruption("file: two pictures at a time", "graph", ("detections", "plain", "raw"), two_pictures),
    Corruption("file: an operator that nobody has", "graph", EVERY, untyped_operator),
    Corruption("file: boxes and spread exchanged", "graph", EVERY, outputs_swapped),
    Corruption("file: weights elsewhere", "graph", EVERY, weights_elsewhere, seam="file"),
    Corruption("file: boxes wrong after it was written", "graph", EVERY, outputs("boxes = Mul(right_boxes, f)", f=np.float32([2])), seam="file"),
]  # fmt: skip
