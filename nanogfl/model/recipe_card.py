"""What a recipe of the folder configs/ is, at a glance: input, cost (counted on its network) and published AP."""

import re
from pathlib import Path
from typing import NamedTuple

import torch

from nanogfl.config import ModelConfig
from nanogfl.errors import UserError
from nanogfl.model.complexity import Complexity, count_complexity
from nanogfl.model.detector import build_detector
from nanogfl.recipe import load_config

# A line of the comments that a recipe begins with.
_PUBLISHED = re.compile(r"^# published: AP ([\d.]+) on (.+)$", re.MULTILINE)


class RecipeCard(NamedTuple):
    name: str
    """the path below the folder"""
    model: ModelConfig
    size: Complexity
    ap: float | None
    """published, in percent"""
    source: str
    """data set and publication of `ap`"""


def read_recipe_cards(folder: Path, class_count: int) -> list[RecipeCard]:
    """Every .yaml below `folder` but for the ablations, which name recipes, sorted by name. Raises UserError for a
    recipe that does not load."""
    paths = sorted(path for path in folder.rglob("*.yaml") if path.parent.name != "ablations")
    if not paths:
        raise UserError(f"{folder} holds no recipes (.yaml): leave --configs out for nanogfl's own")
    return [_card(path, str(path.relative_to(folder)), class_count) for path in paths]


def _card(path: Path, name: str, class_count: int) -> RecipeCard:
    model = load_config(path).model
    with torch.device("meta"):  # the very network, but shapes only: nothing is computed
        size = count_complexity(build_detector(model, class_count))
    published = _PUBLISHED.search(path.read_text(encoding="utf-8"))
    ap, source = (float(published[1]), published[2].strip()) if published else (None, "")
    return RecipeCard(name, model, size, ap, source)
