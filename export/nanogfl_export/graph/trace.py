"""The detector and its decode as ONNX graphs, by torch's dynamo exporter, simplified by onnxsim."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import onnx
import onnxsim
import torch
from torch import Tensor, nn

from nanogfl.config import HeadConfig
from nanogfl.errors import UserError
from nanogfl.model.detector import Detector
from nanogfl_export.graph.modules import NetworkOutputs, RowDecode, decoded_rows, network_outputs
from nanogfl_export.onnx_file import OPSET


def trace_network(detector: Detector, batch: int | None) -> onnx.ModelProto:
    """The graph image uint8 (B, H, W, 3) -> cls_logits (B, N, C), box_pred (B, N, 4, P), quality_logits (B, N).

    The last one if the detector has it. `batch` None: any number. The detector is left as it was.
    """
    example = torch.zeros(batch or 2, *detector.hw, 3, dtype=torch.uint8)  # 1 would be taken as fixed
    training = detector.training
    try:
        shapes = None if batch else ({0: _any("batch")},)
        names = network_outputs(detector.grid.head)
        return _trace(NetworkOutputs(detector).eval(), (example,), ["image"], names, shapes)
    finally:
        detector.train(training)


def trace_row_decode(head: HeadConfig) -> onnx.ModelProto:
    """The graph box_pred (B, Q, 4, P), points (B, Q, 2), unit (B, Q) or (B, Q, 2) -> `decoded_rows`, any B and Q."""
    unit = torch.ones(2, 5, 2) if head.box == "deltas" else torch.ones(2, 5)
    example = (torch.zeros(2, 5, 4, head.side_values), torch.zeros(2, 5, 2), unit)
    free = {0: _any("batch"), 1: _any("rows")}
    names = list(decoded_rows(head))
    return _trace(RowDecode(head).eval(), example, ["box_pred", "points", "unit"], names, (free, free, free))


def _any(name: str) -> Any:
    return torch.export.Dim(name, min=1)


def _trace(
    module: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], shapes: Any
) -> onnx.ModelProto:
    with _quiet():
        program = torch.onnx.export(
            module,
            example,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    model = simplify(program.model_proto)
    _strip(model)
    return model


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Folds what depends on constants alone, by onnxsim. Raises UserError where onnxsim changes the results."""
    simplified: tuple[onnx.ModelProto, bool] = onnxsim.simplify(model)
    if not simplified[1]:
        raise UserError("onnxsim changed what the graph computes: nothing was written; please report this checkpoint")
    return simplified[0]


def _strip(model: onnx.ModelProto) -> None:
    """Removes traces of the tools: source paths, stack traces, settings."""
    del model.metadata_props[:]
    model.doc_string = ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
        value.doc_string = ""
    del model.graph.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences torch's remarks about its internals and about torchvision, which is not used."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=r"# The axis name: \w+ will not be used")
            yield
    finally:
        logger.setLevel(level)
