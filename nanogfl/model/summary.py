"""What a model costs, counted on its network, and the table of recipes that `nanogfl models` prints."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nanogfl.config import About, ModelConfig
from nanogfl.errors import UserError
from nanogfl.model.detector import Detector, build_detector
from nanogfl.recipe import load_recipe


class Complexity(NamedTuple):
    parameters: int
    """learned ones: weights, biases, scales and shifts of the norms"""
    macs: int
    """multiply-accumulates of the convolutions for one image"""

    def __str__(self) -> str:
        return f"{self.parameters:,} parameters, {self.macs / 1e9:.3f} GMACs"


def count_complexity(detector: Detector) -> Complexity:
    """Counts while one empty image runs through the detector, on whatever device it is."""
    macs = 0

    def count(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        assert isinstance(module, nn.Conv2d)
        macs += output[0].numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in detector.modules() if isinstance(m, nn.Conv2d)]
    training = detector.training
    try:
        with torch.no_grad():
            detector.eval()(torch.zeros(1, *detector.hw, 3, dtype=torch.uint8, device=detector.mean.device))
    finally:
        detector.train(training)
        for hook in hooks:
            hook.remove()
    return Complexity(sum(p.numel() for p in detector.parameters()), macs)


class RecipeSummary(NamedTuple):
    name: str
    """path relative to the folder of recipes"""
    model: ModelConfig
    about: About
    size: Complexity


def summarise_recipes(folder: Path, class_count: int) -> list[RecipeSummary]:
    """Every .yaml below `folder` but the ablations, sorted by name; the sizes are those of `class_count` classes.

    Raises UserError where there is no recipe, or one does not load.
    """
    paths = sorted(path for path in folder.rglob("*.yaml") if path.parent.name != "ablations")
    if not paths:
        raise UserError(f"{folder} holds no recipes (.yaml): leave --configs out for nanogfl's own")
    found = []
    for path in paths:
        config, about = load_recipe(path)
        with torch.device("meta"):  # shapes only: nothing is allocated or computed
            size = count_complexity(build_detector(config.model, class_count))
        found.append(RecipeSummary(str(path.relative_to(folder)), config.model, about, size))
    return found
