"""The model card: what a client needs to know about an .onnx, as JSON in its metadata."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from nanogfl.contract.detections import MOST_CLASSES, Selection
from nanogfl.contract.input_spec import InputSpec, Resize
from nanogfl.errors import UserError
from nanogfl.io.printable import shortened

METADATA_KEY = "nanogfl"
CONTRACT_VERSION = 1
_MOST_CHARACTERS = 8_000_000
"""of a card; MOST_CLASSES names of 60 letters take 2 million"""

ExportFormat = Literal["detections", "raw"]


@dataclass(frozen=True)
class ModelCard:
    """What an .onnx expects and delivers, and how it was verified."""

    classes: tuple[str, ...]
    """C names; the label of a detection is an index into them"""
    category_ids: tuple[int, ...]
    """C category ids of the data set, for evaluation in COCO's format"""
    input: InputSpec
    selection: Selection
    format: ExportFormat
    has_spread: bool
    bins: int = 0
    """R + 1 where the file also delivers `distributions` (B, K, 4, R + 1) and `points` (B, K, 3), else 0. A point is x
    and y of the grid point, and the pixels between two bins (stride times model.head.bin_width)"""
    parity: dict[str, Any] = field(default_factory=dict)
    """what the export measured against PyTorch"""
    source: dict[str, Any] = field(default_factory=dict)
    """origin of the file: versions, parameters, MACs, SHA-256 of the checkpoint"""
    bench: dict[str, Any] = field(default_factory=dict)
    """what `nanogfl bench --card` measured, and where"""
    # Fixed in contract version 1. A card that says otherwise is refused, because clients rely on it.
    colour: str = "BGR"
    layout: str = "uint8 (B, H, W, 3)"
    interpolation: str = "bilinear"
    contract: int = CONTRACT_VERSION

    def to_json(self) -> str:
        """The text that `from_json` reads."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "ModelCard":
        """Reads a card. Raises UserError where the text is not a card, or not one of CONTRACT_VERSION."""
        if len(text) > _MOST_CHARACTERS:
            raise UserError(
                f"the model card has {len(text):,} characters, at most {_MOST_CHARACTERS:,} are read: export again"
            )
        try:
            content = json.loads(text)
            if content.get("contract") != CONTRACT_VERSION:
                raise UserError(
                    f"the model card has contract version {content.get('contract')!r}, this nanogfl reads"
                    f" {CONTRACT_VERSION}: export the checkpoint again or install the nanogfl that wrote the file"
                )
            spec = content["input"]
            if unknown := sorted(spec.keys() - {known.name for known in fields(InputSpec)}):
                raise ValueError(f"input has the unknown key {unknown[0]}")
            height, width = _list_of(int, spec["hw"], "hw", 2)
            content["input"] = InputSpec(
                hw=(height, width),
                resize=_one_of(get_args(Resize), spec["resize"], "resize"),
                mean=_three_numbers(spec["mean"], "mean"),
                std=_three_numbers(spec["std"], "std"),
            )
            content["selection"] = Selection(**content["selection"])
            content["classes"] = classes = _list_of(str, content["classes"], "classes")
            content["category_ids"] = _list_of(int, content["category_ids"], "category_ids", len(classes))
            if not 0 < len(classes) <= MOST_CLASSES:
                raise ValueError(f"1 to {MOST_CLASSES:,} classes are expected, got {len(classes):,}")
            _one_of(get_args(ExportFormat), content["format"], "format")
            for name, kind in _PLAIN_FIELDS.items():
                if type(content.get(name, kind())) is not kind:
                    raise TypeError(f"{name} must be of type {kind.__name__}")
            for name in ("colour", "layout", "interpolation"):
                _one_of((getattr(ModelCard, name),), content[name], name)
            return ModelCard(**content)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            reason = shortened(str(error), 200)
            raise UserError(f"the model card cannot be read ({reason}): export the checkpoint again") from None


_PLAIN_FIELDS: dict[str, type] = {
    "has_spread": bool,
    "bins": int,
    **dict.fromkeys(("parity", "source", "bench"), dict),
    **dict.fromkeys(("colour", "layout", "interpolation"), str),
}


def _list_of(kind: type, values: Any, name: str, count: int | None = None) -> tuple[Any, ...]:
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise TypeError(f"{name} must be a list of type {kind.__name__}")
    if count is not None and len(values) != count:
        raise ValueError(f"{name} must have {count} entries, got {len(values)}")
    return tuple(values)


def _three_numbers(values: Any, name: str) -> tuple[float, float, float]:
    blue, green, red = values if isinstance(values, list) and len(values) == 3 else ("", "", "")
    if not all(type(value) in (int, float) for value in (blue, green, red)):
        raise TypeError(f"{name} must be three numbers")
    return float(blue), float(green), float(red)


def _one_of(choices: tuple[Any, ...], value: Any, name: str) -> Any:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}")
    return value
