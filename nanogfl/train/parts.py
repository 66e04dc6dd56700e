"""The detector's parts: which tensor belongs to which, and keeping some of them as they are."""

from collections.abc import Iterable
from typing import get_args

from torch import nn

from nanogfl.config import Part
from nanogfl.contract.errors import UserError
from nanogfl.model.detector import Detector

PARTS: tuple[Part, ...] = get_args(Part)


def module_path(part: Part) -> str:
    return "backbone.conv1" if part == "backbone.stem" else part


def part_of(name: str) -> str:
    """Where a tensor's name lies, for people: backbone.stem, backbone.stage3, neck, head.towers, head.outputs."""
    first, second, *_ = name.replace("backbone.conv1.", "backbone.stem.").split(".")
    return first if first == "neck" else f"{first}.{second}"


class FrozenParts:
    """No gradient, no decay, no optimizer state, and batch norms that keep their statistics."""

    def __init__(self, detector: Detector, parts: tuple[Part, ...]) -> None:
        self.parts = [part for part in PARTS if part in parts]
        self._modules: list[nn.Module] = [detector.get_submodule(module_path(part)) for part in self.parts]
        for module in self._modules:
            module.requires_grad_(False)
        trained = [p.numel() for p in detector.parameters() if p.requires_grad]
        self._trained, self._all = sum(trained), sum(p.numel() for p in detector.parameters())
        if not trained:
            raise UserError(f"train.freeze {list(parts)} leaves nothing to train: leave a part out of it")

    def require_loaded(self, detector: Detector, loaded: frozenset[str]) -> None:
        """Raises UserError where a frozen part would keep random weights. `loaded`: names in the state dict."""
        for part in self.parts:
            prefix = module_path(part) + "."
            fresh = [n for n, _ in detector.named_parameters() if n.startswith(prefix) and n not in loaded]
            if fresh:
                raise UserError(
                    f"train.freeze keeps {part} as it is, but {len(fresh)} of its tensors have random weights"
                    f" ({fresh[0]}{', ...' if len(fresh) > 1 else ''}): give train.init_from or model.backbone.weights"
                    " that fit, or freeze less"
                )

    def train_mode(self, *trained: nn.Module) -> None:
        """Everything in training mode but the frozen parts."""
        for module in trained:
            module.train()
        for module in self._modules:
            module.eval()

    def lines(self) -> Iterable[str]:
        if self.parts:
            yield f"frozen: {', '.join(self.parts)}; {self._trained:,} of {self._all:,} parameters are trained"
