"""The detector as an ONNX graph in the `raw` format, by torch's dynamo exporter, simplified by onnxsim."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import onnx
import onnxsim
import torch

from nanogfl.contract.errors import UserError
from nanogfl.model.detector import Detector
from nanogfl_export.graph import RawGraph
from nanogfl_export.onnx_file import OPSET
from nanogfl_export.selection_graph import RAW_NAMES


def trace_raw(detector: Detector, batch: int | None) -> onnx.ModelProto:
    """`batch` pictures at a time; None: any number. The detector is left as it was."""
    graph = RawGraph(detector).eval()
    example = torch.zeros(batch or 2, *detector.hw, 3, dtype=torch.uint8)  # an example of 1 would be taken as fixed
    shapes = None if batch else ({0: torch.export.Dim("batch", min=1)},)
    with _quiet():
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=["image"],
            output_names=list(RAW_NAMES),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    simplified: tuple[onnx.ModelProto, bool] = onnxsim.simplify(program.model_proto)
    model, same = simplified
    if not same:
        raise UserError("onnxsim changed what the graph computes: nothing was written; please report this checkpoint")
    _strip(model)
    return model


def _strip(model: onnx.ModelProto) -> None:
    """Removes what the tools left of themselves: source paths, stack traces, tool settings."""
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
    """Without torch's remarks about its own internals and about torchvision, which we do not use."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
