"""An ablation file: one recipe, rows that each change some of its keys, and the seeds and budget of all rows."""

import itertools
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from annotated_types import Ge, Le, Len

from nanogfl.bounds import Bounded
from nanogfl.config import Config, Reads
from nanogfl.errors import UserError
from nanogfl.io.yaml_file import parse_yaml
from nanogfl.recipe import differences, load_config, read_recipe, validated

_LARGEST = 1 << 62
"""number of steps or of a seed: torch counts in 64 bits"""
_DECIDED = ("train.seed", "train.epochs", "train.patience", "train.minutes")
"""keys that `seeds` and `budget` set for every row; without patience every row trains to its end, and without minutes
all have the same number of updates"""

_Amount = Annotated[int, Ge(1), Le(_LARGEST)]
_Keys = Annotated[dict[str, Any], Reads(None, {})]
"""nested or dotted in the file, dotted in a loaded ablation: {"loss.beta": 0}"""


@dataclass(frozen=True)
class Budget(Bounded):
    """Of every run: epochs, or updates of the weights rounded up to whole epochs. One of them is None."""

    epochs: _Amount | None = None
    steps: _Amount | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("must be one of {epochs: N} and {steps: N}")

    def __str__(self) -> str:
        return f"{self.epochs} epochs" if self.epochs else f"{self.steps} steps, rounded up to whole epochs,"


@dataclass(frozen=True)
class Paper(Bounded):
    """Where the published figures come from."""

    title: str = ""
    source: str = ""


@dataclass(frozen=True)
class Row(Bounded):
    """A variant of the recipe."""

    set: _Keys = field(default_factory=dict)
    paper: float | None = None
    """the published figure, as printed there"""


@dataclass(frozen=True)
class Ablation(Bounded):
    """The content of the file."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "coerce_numbers_to_str": True}  # row names

    base: str
    """path of the recipe"""
    rows: Annotated[dict[str, Annotated[Row, Reads(None, {})]], Len(1, 1000)]
    budget: Budget
    seeds: Annotated[tuple[Annotated[int, Ge(0), Le(_LARGEST)], ...], Len(1)] = (0,)
    title: str = ""
    set: _Keys = field(default_factory=dict)
    """of every row"""
    metric: Literal[
        "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ap_rare", "ap_common", "ap_frequent"
    ] = "ap"
    paper: Paper = field(default_factory=Paper)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different, got {', '.join(map(str, self.seeds))}")

    def config(self, row: str, seed: int, epochs: int) -> Config:
        """The config of one run. Raises UserError."""
        decided = dict(zip(_DECIDED, (seed, epochs, 0, 0), strict=True))
        try:
            return load_config(self.base, as_overrides(self.set | self.rows[row].set | decided))
        except UserError as error:
            raise UserError(f"row '{row}': {error}") from None


def folder_name(row: str) -> str:
    """The folder of a row's runs."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "-", row).strip("-.")


def as_overrides(keys: dict[str, Any]) -> tuple[str, ...]:
    """{"loss.beta": 0} -> ("loss.beta=0",)."""
    texts = (yaml.safe_dump([value], default_flow_style=True, width=1 << 30) for value in keys.values())
    return tuple(f"{key}={text.strip()[1:-1]}" for key, text in zip(keys, texts, strict=True))


def load_ablation(path: Path, overrides: tuple[str, ...] = ()) -> Ablation:
    """Reads and checks the file and the config of each row. `overrides` are KEY=VALUE for every row and win over the
    file's own `set`. Raises UserError."""
    content, path = read_recipe(path, "ablation")
    file: Ablation = validated(Ablation, content, str(path))
    given = {key.strip(): parse_yaml(value, f"--set {key}") for key, _, value in (o.partition("=") for o in overrides)}
    rows = {name: replace(row, set=_dotted(row.set)) for name, row in file.rows.items()}
    title, base = file.title or path.stem, str(path.parent / file.base)
    ablation = replace(file, title=title, base=base, rows=rows, set=_dotted(file.set) | given)
    _check(ablation, given, str(path))
    return ablation


def _check(ablation: Ablation, given: dict[str, Any], origin: str) -> None:
    """Raises UserError where rows share a folder or are the same training, or a key is set in two places."""
    folders: dict[str, str] = {}
    configs: dict[str, Config] = {}
    _require_apart(ablation.set, _DECIDED, f"{origin}: set", "seeds and budget decide it for every row")
    for name, row in ablation.rows.items():
        _require_apart(row.set, _DECIDED, f"{origin}: row '{name}'", "seeds and budget decide it for every row")
        _require_apart(row.set, tuple(given), f"{origin}: row '{name}'", "so does --set")
        folder = folder_name(name)
        other = folders.setdefault(folder.lower(), name)
        if not folder or other != name:
            clash = f"like row '{other}'" if folder else "without a letter or digit"
            raise UserError(f"{origin}: row '{name}' would have a folder {clash}: give it another name")
        configs[name] = ablation.config(name, ablation.seeds[0], epochs=1)
        for earlier in list(configs)[:-1]:
            if not differences(configs[earlier], configs[name]):
                raise UserError(f"{origin}: rows '{earlier}' and '{name}' are the same training: change one of them")


def _require_apart(keys: dict[str, Any], others: tuple[str, ...], who: str, why: str) -> None:
    for key, other in itertools.product(keys, others):
        if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):  # equal, or a section of the other
            raise UserError(f"{who} sets {key}, but {why}: leave it out")


def _dotted(section: dict[str, Any], parents: str = "") -> dict[str, Any]:
    """{loss: {beta: 0}} and {loss.beta: 0} alike -> {"loss.beta": 0}: the other keys of a section stay as they are."""
    keys: dict[str, Any] = {}
    for key, value in section.items():
        keys |= _dotted(value, f"{parents}{key}.") if isinstance(value, dict) else {f"{parents}{key}": value}
    return keys
