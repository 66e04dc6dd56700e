"""Writes the .onnx, and checks what was written."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from nanogfl.contract.card import METADATA_KEY, ExportFormat, ModelCard
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path

OPSET = 18  # the lowest that torch's dynamo exporter writes

RAW_OPERATORS = frozenset(
    {"Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "Softmax", "Sigmoid", "MatMul"}
    | {"InstanceNormalization", "Add", "Sub", "Mul", "Div", "Sqrt", "Relu", "LeakyRelu", "Max", "Min", "Clip"}
    | {"Exp", "Log", "Abs", "Neg"}
    | {"Transpose", "Cast", "Reshape", "Concat", "Split", "Slice", "Gather"}
)
"""the operators of a `raw` file: no TopK, suppression or loop, so that every runtime can run it"""


def write_file(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Writes one file with the card in its metadata."""
    del model.metadata_props[:]
    _set_card(model, card)
    # the lowest version that has the opset: runtimes refuse files of later versions, however plain
    model.ir_version = onnx.helper.find_min_ir_version_for(list(model.opset_import))
    model.producer_name, model.producer_version = "nanogfl", str(card.source.get("nanogfl", ""))
    onnx.save_model(model, path, save_as_external_data=False)


def update_card(path: Path, **fields: Any) -> ModelCard:
    """Replaces these fields of the card in an exported file, and nothing else. Returns the new card.

    Raises UserError and leaves the file as it was if it cannot be read or written, or does not read back.
    """
    path = path.resolve()  # a link stays one
    try:
        model = onnx.load_model(path, load_external_data=False)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None
    except DecodeError:
        raise UserError(f"{path} is not an .onnx (or it is truncated): write it with `nanogfl export`") from None
    graph = model.graph.SerializeToString(deterministic=True)
    card = replace(read_card(model), **fields)
    _set_card(model, card)
    with atomic_path(path) as temporary:
        onnx.save_model(model, temporary, save_as_external_data=False)
        written = onnx.load_model(temporary, load_external_data=False)
        same_graph = written.graph.SerializeToString(deterministic=True) == graph
        if not same_graph or read_card(written) != card:
            raise UserError(f"the card of {path} does not read back: the file was left as it was, please report this")
    return card


def check_file(path: Path, card: ModelCard, points: int) -> onnx.ModelProto:
    """Reopens the file and returns it. `points`: N. Raises UserError where it breaks the ONNX contract."""
    model = onnx.load_model(path, load_external_data=False)
    _demand(not any(t.external_data for t in model.graph.initializer), "its weights lie in another file")
    opsets = [(entry.domain, entry.version) for entry in model.opset_import]
    one_set = len(opsets) == 1 and opsets[0][0] == "" and opsets[0][1] >= OPSET
    _demand(one_set, f"opset {OPSET} or later alone expected, got {opsets}")

    inputs, outputs = _shapes(model.graph.input), _shapes(model.graph.output)
    _demand(inputs == {"image": ("uint8", (*card.input.hw, 3))}, f"input {inputs}")
    _demand(outputs == expected_outputs(card, points), f"outputs {outputs}")
    _demand(read_card(model) == card, "its card does not read back")
    if card.format == "raw":
        foreign = {node.op_type for node in model.graph.node} - RAW_OPERATORS
        _demand(not foreign, f"a raw file must do without the operators {', '.join(sorted(foreign))}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        _demand(False, " ".join(str(error).split()))
    return model


def expected_outputs(card: ModelCard, points: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> type and shape without the batch dimension."""
    by_format: dict[ExportFormat, dict[str, tuple[str, tuple[int, ...]]]] = {
        "detections": {
            "boxes": ("float", (card.selection.keep, 4)),
            "scores": ("float", (card.selection.keep,)),
            "labels": ("int64", (card.selection.keep,)),
            "spread": ("float", (card.selection.keep, 4)),
        },
        "raw": {
            "boxes": ("float", (points, 4)),
            "scores": ("float", (points, len(card.classes))),
            "spread": ("float", (points, 4)),
        },
    }
    outputs = by_format[card.format]
    if card.bins:
        outputs["distributions"] = ("float", (card.selection.keep, 4, card.bins))
        outputs["points"] = ("float", (card.selection.keep, 3))
    if not card.has_spread:
        del outputs["spread"]
    return outputs


def _shapes(values: Iterable[onnx.ValueInfoProto]) -> dict[str, tuple[str, tuple[int, ...]]]:
    shapes = {}
    for value in values:
        tensor = value.type.tensor_type
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        shapes[value.name] = (kind, tuple(dim.dim_value for dim in tensor.shape.dim[1:]))
    return shapes


def _set_card(model: onnx.ModelProto, card: ModelCard) -> None:
    entry = next((entry for entry in model.metadata_props if entry.key == METADATA_KEY), None)
    if entry is None:
        entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, card.to_json()


def read_card(model: onnx.ModelProto) -> ModelCard:
    """The card in the metadata. Raises UserError where there is none."""
    return ModelCard.from_json(next((e.value for e in model.metadata_props if e.key == METADATA_KEY), ""))


def check_same_graph(measured: onnx.ModelProto, written: onnx.ModelProto) -> None:
    """Raises UserError where the final file's graph is not the one that was measured."""
    before, after = (model.graph.SerializeToString(deterministic=True) for model in (measured, written))
    _demand(before == after, "the graph that was measured is not the one that was written")


def _demand(holds: bool, complaint: str) -> None:
    if not holds:
        raise UserError(f"the written .onnx breaks the contract: {complaint}; no file was left, please report this")
