"""A file that is another thing than its contract says: declared types, names, operators, weights elsewhere."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.export.sabotage.attempt import EVERY, IN_ROWS, of_graph
from tests.export.sabotage.cuts import outputs
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
    *of_graph(
        EVERY,
        {
            "file: scores declared fp16": half_scores,
            "file: a free number of rows": free_rows,
            "file: no spread": without_spread,
            "file: an output too many": one_more_output,
            "file: another name of the input": renamed_input,
            "file: input of float": float_input,
            "file: an operator that nobody has": untyped_operator,
            "file: boxes and spread exchanged": outputs_swapped,
        },
        kind="file",
    ),
    *of_graph(IN_ROWS, {"file: labels declared int32": short_labels}, kind="file"),
    *of_graph(("detections", "plain", "raw"), {"file: two pictures at a time": two_pictures}, kind="file"),
    *of_graph(
        EVERY,
        {
            "file: operators of opset 13": older_operators,
            "file: a second set of operators": foreign_operators,
            "file: weights elsewhere": weights_elsewhere,
            "file: boxes wrong after it was written": outputs("boxes = Mul(right_boxes, f)", f=np.float32([2])),
        },
        kind="file",
        seam="file",
    ),
]
