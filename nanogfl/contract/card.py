"""The model card: everything a client must know, as JSON in the metadata of the .onnx."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nanogfl.contract.detections import Selection
from nanogfl.contract.errors import UserError
from nanogfl.contract.preprocess import InputSpec

METADATA_KEY = "nanogfl"
CONTRACT_VERSION = 1

ExportFormat = Literal["detections", "raw"]


@dataclass(frozen=True)
class ModelCard:
    """What the .onnx expects and delivers, and how it was verified."""

    classes: tuple[str, ...]
    """names; a detection's label is the index"""
    category_ids: tuple[int, ...]
    """the data set's category id of each class, for evaluation in COCO's format"""
    input: InputSpec
    selection: Selection
    format: ExportFormat
    has_spread: bool
    bins: int = 0
    """R + 1 where the file also delivers `distributions` (B, K, 4, R + 1) and `points` (B, K, 3), else 0. points: x y
    of the grid point, and the pixels from one bin to the next (its stride, times model.head.bin_width)"""
    parity: dict[str, Any] = field(default_factory=dict)
    """what the export's gate measured against PyTorch"""
    source: dict[str, Any] = field(default_factory=dict)
    """where the file comes from: versions, parameters, MACs, the checkpoint's SHA-256"""
    bench: dict[str, Any] = field(default_factory=dict)
    """what `nanogfl bench --card` measured, and where"""
    colour: str = "BGR"
    layout: str = "uint8 (B, H, W, 3)"
    interpolation: str = "bilinear"
    contract: int = CONTRACT_VERSION

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "ModelCard":
        """Raises UserError where the text is no card of a contract version that we read."""
        try:
            content = json.loads(text)
            if content.get("contract") != CONTRACT_VERSION:
                raise UserError(
                    f"the model card has contract version {content.get('contract')!r}, this nanogfl reads"
                    f" {CONTRACT_VERSION}: export the checkpoint again or install the nanogfl that wrote the file"
                )
            spec = content["input"]
            content["input"] = InputSpec(
                hw=(int(spec["hw"][0]), int(spec["hw"][1])),
                resize=spec["resize"],
                mean=tuple(spec["mean"]),
                std=tuple(spec["std"]),
            )
            content["selection"] = Selection(**content["selection"])
            content["classes"] = tuple(content["classes"])
            content["category_ids"] = tuple(content["category_ids"])
            return ModelCard(**content)
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UserError(f"the model card cannot be read ({error}): export the checkpoint again") from None
