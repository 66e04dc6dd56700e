"""Reads files of NanoDet (RangiLyu/nanodet): recognises the network by its shapes and renames every tensor."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.serialization import safe_globals

from nanogfl.config import BackboneConfig, Config, HeadConfig, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.errors import UserError
from nanogfl.io.read_file import is_file
from nanogfl.model.checkpoint import Checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.model.nanodet.coco_classes import COCO_CATEGORY_IDS, COCO_CLASSES
from nanogfl.model.torch_file import foreign_globals, read_weights

_EXPECTED = "expected a .ckpt or .pth of RangiLyu/nanodet"


class Variant(NamedTuple):
    """What distinguishes the published networks."""

    name: str
    width: Literal["0.5x", "1.0x", "1.5x"]
    features: int
    """channels of the backbone at stride 8"""
    neck: Literal["pan", "ghost_pan"]
    channels: int
    """of the neck"""
    side: int
    """default side of the input, which no tensor tells"""


VARIANTS = (
    Variant("nanodet-m-0.5x", "0.5x", 48, "pan", 96, 320),
    Variant("nanodet-m", "1.0x", 116, "pan", 96, 320),
    Variant("nanodet-m-1.5x", "1.5x", 176, "pan", 128, 320),
    Variant("nanodet-plus-m", "1.0x", 116, "ghost_pan", 96, 416),
    Variant("nanodet-plus-m-1.5x", "1.5x", 176, "ghost_pan", 128, 416),
)

# Applied in this order, each at most once per name. The backbone has torchvision's names in both.
_RENAMES = (
    (r"^fpn\.lateral_convs\.(\d+)\.conv\.", r"neck.laterals.\1."),
    (r"^fpn\.reduce_layers\.(\d+)\.conv\.", r"neck.reduce.\1.0."),
    (r"^fpn\.reduce_layers\.(\d+)\.bn\.", r"neck.reduce.\1.1."),
    (r"^fpn\.(top_down|bottom_up)_blocks\.(\d+)\.blocks\.0\.", r"neck.\1.\2."),
    (r"\.primary_conv\.", ".primary."),
    (r"\.cheap_operation\.", ".cheap."),
    (r"\.shortcut\.([01])\.(?!\d)", r".shortcut.0.\1."),  # depthwise conv and norm
    (r"\.shortcut\.2\.", ".shortcut.1.0."),  # pointwise conv
    (r"\.shortcut\.3\.", ".shortcut.1.1."),  # and norm
    (r"^fpn\.downsamples\.", "neck.downsample."),
    (r"^fpn\.extra_lvl_(in|out)_conv\.0\.", r"neck.extra_\1."),
    (r"^head\.cls_convs\.", "head.towers."),
    (r"^head\.gfl_cls\.", "head.outputs."),
    (r"\.(depth|point)wise\.weight$", r".\1wise.0.weight"),
    (r"\.dwnorm\.", ".depthwise.1."),
    (r"\.pwnorm\.", ".pointwise.1."),
)

_LEFT_OUT = {
    "aux_fpn.": "auxiliary neck, which only training uses",
    "aux_head.": "auxiliary head, which only training uses",
    "head.gfl_reg.": "never executed: class and box share one convolution",
    "head.distribution_project.": "the constants 0 to n, which decoding computes",
}
_CONSTANTS = "head.distribution_project.project"


@dataclass(frozen=True)
class LeftOut:
    """Tensors of the file that are not needed."""

    group: str
    """common prefix of their names in NanoDet"""
    tensors: int
    why: str


@dataclass(frozen=True)
class NanoDetWeights:
    """A file that was read: the network as our configuration, and its weights."""

    variant: str
    model: ModelConfig
    class_count: int
    weights: dict[str, Tensor]
    """the complete state of our detector"""
    taken: int
    """number of tensors of the file in `weights`"""
    averaged: bool
    """the weights are the averaged ones"""
    left_out: tuple[LeftOut, ...]

    def checkpoint(
        self,
        file: str,
        classes: tuple[str, ...] = COCO_CLASSES,
        category_ids: tuple[int, ...] = COCO_CATEGORY_IDS,
        **facts: str,
    ) -> Checkpoint:
        """As a checkpoint of ours that was imported from `file`."""
        imported = f"{file}{', averaged weights' if self.averaged else ''}"
        facts = {"variant": self.variant, "imported": imported, **facts}
        return Checkpoint(Config(model=self.model), classes, category_ids, self.weights, facts)


def read_nanodet(path: Path | str, input_hw: tuple[int, int] | None = None) -> NanoDetWeights:
    """Reads a file without executing anything in it. `input_hw` is height, width; None: the variant's default.

    Raises UserError for anything but one of VARIANTS with exactly its tensors.
    """
    path = Path(path)
    tensors, averaged = _state(_load(path), path)
    variant = _recognise(tensors, path)
    bins = _bin_count(tensors, path)
    rows = tensors["head.gfl_cls.0.weight"].shape[0] if _dimensions(tensors, "head.gfl_cls.0.weight") else 0
    class_count = rows - 4 * bins
    if class_count < 1:
        raise UserError(
            f"{path}: head.gfl_cls.0.weight has {rows} outputs, expected 4 x {bins} for the box and one per"
            " class: only heads in which class and box share a tower are read"
        )
    model = model_config(variant, bins - 1, input_hw)
    left_out = [
        LeftOut(group.rstrip("."), count, why)
        for group, why in _LEFT_OUT.items()
        if (count := sum(name.startswith(group) for name in tensors))
    ]
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(tuple(_LEFT_OUT))}
    weights = _fitted(kept, model, class_count, f"{path} looks like {variant.name} of {class_count} classes, but")
    return NanoDetWeights(variant.name, model, class_count, weights, len(kept), averaged, tuple(left_out))


def model_config(variant: Variant, reg_max: int, input_hw: tuple[int, int] | None = None) -> ModelConfig:
    """The configuration of a published network. NanoDet-m letterboxes and has its grid points in the middle of a cell;
    NanoDet-Plus stretches and has them at the corner. Raises UserError for an input or a `reg_max` out of bounds."""
    plus = variant.neck == "ghost_pan"
    try:
        return ModelConfig(
            input=InputSpec(input_hw or (variant.side, variant.side), "stretch" if plus else "letterbox"),
            activation="leaky_relu",
            backbone=BackboneConfig(variant.width),
            neck=NeckConfig(variant.neck, variant.channels, extra_level=plus),
            head=HeadConfig(kernel=5 if plus else 3, reg_max=reg_max, point_offset=0.0 if plus else 0.5),
        )
    except ValueError as error:
        raise UserError(f"this network or input is not supported: {error}") from None


def nanogfl_name(name: str) -> str:
    """NanoDet's name of a tensor, without "model." -> our name."""
    for pattern, ours in _RENAMES:
        name = re.sub(pattern, ours, name)
    return name


# The file ---------------------------------------------------------------------------------------------------------


class _Inert(dict[Any, Any]):
    """Stands in for a class of Lightning that a checkpoint names beside its weights."""


def _load(path: Path) -> Any:
    if not is_file(path):
        raise UserError(f"{path} does not exist: {_EXPECTED}")
    foreign = foreign_globals(path)
    lightning = [name for name in foreign if name.startswith("pytorch_lightning.")]
    if others := [name for name in foreign if name not in lightning]:
        raise UserError(f"{path} is refused: it would run code when loaded ({', '.join(others[:3])}); {_EXPECTED}")
    # Lightning before 1.5 saved the states of callbacks under their classes: the names are read, nothing is imported.
    with safe_globals([(_Inert, name) for name in lightning]):
        content = read_weights(path, old_format=True)
    if content is None:
        raise UserError(f"{path} is not a file of weights, or it is truncated: {_EXPECTED}")
    return content


def _state(content: Any, path: Path) -> tuple[dict[str, Tensor], bool]:
    """Tensors by NanoDet's names without prefix, averaged ones where the file has them; whether it has them."""
    if isinstance(content, Mapping) and str(content.get("format")).startswith("nanogfl"):
        raise UserError(f"{path} is already a checkpoint of nanogfl and needs no import: {_EXPECTED}")
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(name, str) for name in state):
        raise UserError(f"{path} holds no state_dict: {_EXPECTED}")
    if strange := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise UserError(f"{path} holds more than tensors in its state_dict ({strange[0]}): {_EXPECTED}")
    plain: dict[str, Tensor] = {}
    averaged: dict[str, Tensor] = {}
    for name, tensor in state.items():
        bare = name.removeprefix("module.")
        chosen = averaged if bare.startswith("avg_model.") else plain
        bare = bare.removeprefix("avg_model.").removeprefix("model.")
        if bare in chosen:
            raise UserError(f"{path} holds the tensor {bare} twice, with and without a prefix: {_EXPECTED}")
        chosen[bare] = tensor
    return plain | averaged, bool(averaged)


# The network ------------------------------------------------------------------------------------------------------


def _dimensions(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """The shape; () where there is no such tensor."""
    return tuple(tensors[name].shape) if name in tensors else ()


def _recognise(tensors: Mapping[str, Tensor], path: Path) -> Variant:
    features = 2 * sum(
        _dimensions(tensors, "backbone.stage2.0.branch1.2.weight")[:1]
    )  # a branch makes half of the channels
    lateral = _dimensions(tensors, "fpn.lateral_convs.0.conv.weight")
    reduce = _dimensions(tensors, "fpn.reduce_layers.0.conv.weight")
    channels = sum((lateral or reduce)[:1])
    found = (features, "pan" if lateral else "ghost_pan", channels)
    for variant in VARIANTS:
        if found == (variant.features, variant.neck, variant.channels):
            return variant
    named = ", ".join(variant.name for variant in VARIANTS)
    if not features or not channels:
        raise UserError(
            f"{path} does not have the tensors of ShuffleNetV2 and PAN or GhostPAN with NanoDet's names (it begins with"
            f" {next(iter(tensors))}): expected one of {named}"
        )
    raise UserError(
        f"{path} is none of {named}: its backbone has {features} channels at stride 8, its neck"
        f" ({'PAN' if lateral else 'GhostPAN'}) {channels}"
    )


def _bin_count(tensors: Mapping[str, Tensor], path: Path) -> int:
    """n + 1; 8, as in every published file, where the file does not say."""
    constants = tensors.get(_CONSTANTS)
    if constants is None:
        return 8
    count = constants.numel()
    if count < 2 or constants.ndim != 1 or not torch.equal(constants.float(), torch.arange(count).float()):
        raise UserError(f"{path}: {_CONSTANTS} must be 0, 1, .. n, got {constants.tolist()}")
    return count


def _fitted(tensors: Mapping[str, Tensor], model: ModelConfig, class_count: int, beginning: str) -> dict[str, Tensor]:
    """The complete state of the detector with the file's tensors; `beginning` starts the sentence of an error."""
    detector = build_detector(model, class_count)
    state = detector.state_dict()
    theirs = {nanogfl_name(name): name for name in tensors}
    # The batch counter of a norm is not needed; torch before 1.0 did not write it.
    ours = {name for name in state if name.split(".")[0] in ("backbone", "neck", "head")}
    missing = sorted(name for name in ours - theirs.keys() if not name.endswith(".num_batches_tracked"))
    unknown = sorted(theirs[name] for name in theirs.keys() - ours)
    if len(theirs) < len(tensors):
        unknown += sorted(tensors.keys() - set(theirs.values()))
    if unknown:
        raise UserError(f"{beginning} {_some(unknown)} {'is' if len(unknown) == 1 else 'are'} not part of that network")
    if missing:
        raise UserError(f"{beginning} there is nothing for {_some(missing)} (our names)")
    for ours_name, name in theirs.items():
        if tensors[name].shape != state[ours_name].shape:
            raise UserError(
                f"{beginning} {name} has shape {tuple(tensors[name].shape)}, expected {tuple(state[ours_name].shape)}"
            )
    detector.load_state_dict({ours_name: tensors[name] for ours_name, name in theirs.items()}, strict=False)
    return {name: value.detach().clone() for name, value in detector.state_dict().items()}


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
