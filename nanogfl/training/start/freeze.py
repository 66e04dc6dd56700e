"""train.freeze: the detector's parts, and keeping some of them unchanged."""

from collections.abc import Iterable
from typing import get_args

from torch import nn

from nanogfl.config import Part
from nanogfl.errors import UserError
from nanogfl.model.backbones.resnet import ResNet
from nanogfl.model.backbones.shufflenetv2 import ShuffleNetV2
from nanogfl.model.backbones.sumnet import SumNet
from nanogfl.model.detector import Detector

PARTS: tuple[Part, ...] = get_args(Part)
_COUNTER = ".num_batches_tracked"  # no weight: nothing reads it
STATISTICS = ("running_mean", "running_var")

_HEAD = {
    "towers": ("towers", "class_tower", "box_tower"),
    "outputs": ("outputs", "class_output", "box_output", "quality_output", "scales", "dgqp"),
}
_OWNERS = {
    f"{first}.{module}": f"{first}.{part}"
    for first, parts in (
        ("backbone", ShuffleNetV2.parts),
        ("backbone", ResNet.parts),
        ("backbone", SumNet.parts),
        ("head", _HEAD),
    )
    for part, modules in parts.items()
    for module in modules
}


def part_of(name: str) -> str:
    """The part of the tensor `name`: backbone.stem, backbone.stage3, neck, head.towers, head.outputs."""
    first, second, *_ = name.split(".")
    return first if first == "neck" else _OWNERS[f"{first}.{second}"]


def _names_in(detector: Detector, part: Part) -> list[str]:
    """The names in the detector's state dict that freezing `part` keeps unchanged."""
    names = [name for name in detector.state_dict() if name not in ("mean", "std")]
    if part == "backbone.statistics":
        return [name for name in names if name.startswith("backbone.") and name.endswith(STATISTICS)]
    return [name for name in names if part in (name.split(".")[0], part_of(name))]


class FrozenParts:
    """The frozen parts of a detector: no gradient, no decay, no optimizer state, norms that keep their statistics.

    Raises UserError for a part that the detector lacks, and where nothing is left to train.
    """

    def __init__(self, detector: Detector, parts: tuple[Part, ...]) -> None:
        self.parts = [part for part in PARTS if part in parts]
        self._norms: list[nn.Module] = []
        """that keep their statistics"""
        parameters = dict(detector.named_parameters())
        for part in self.parts:
            names = _names_in(detector, part)
            if not names:
                raise UserError(
                    f"train.freeze {part}: {type(detector.backbone).__name__} has no such part; leave it out"
                )
            for name in names:
                if name in parameters:
                    parameters[name].requires_grad_(False)
                elif name.endswith(STATISTICS[0]):
                    self._norms.append(detector.get_submodule(name.rpartition(".")[0]))
        trained = [p.numel() for p in detector.parameters() if p.requires_grad]
        self._trained, self._all = sum(trained), sum(p.numel() for p in detector.parameters())
        if not trained:
            raise UserError(f"train.freeze {list(parts)} leaves nothing to train: leave a part out of it")

    def require_loaded(self, detector: Detector, loaded: frozenset[str]) -> None:
        """Raises UserError where a frozen part would keep random weights. `loaded`: names in the state dict."""
        for part in self.parts:
            names = [name for name in _names_in(detector, part) if not name.endswith(_COUNTER)]
            fresh = [name for name in names if name not in loaded]
            if fresh:
                raise UserError(
                    f"train.freeze keeps {part} as it is, but {len(fresh)} of its tensors have random weights"
                    f" ({fresh[0]}{', ...' if len(fresh) > 1 else ''}): give train.init_from or model.backbone.weights"
                    " that fit, or freeze less"
                )

    def train_mode(self, *trained: nn.Module) -> None:
        """Puts everything but the frozen parts into training mode."""
        for module in trained:
            module.train()
        for norm in self._norms:
            norm.eval()

    def lines(self) -> Iterable[str]:
        if self.parts:
            yield f"frozen: {', '.join(self.parts)}; {self._trained:,} of {self._all:,} parameters are trained"
