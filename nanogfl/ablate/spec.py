"""An ablation file: one recipe, rows that each change some of its keys, seeds and a budget that all rows share."""

import difflib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.evaluation.groups import GROUPS
from nanogfl.recipe import differences, load_config, read_recipe

METRICS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", *(f"ap_{name}" for name in GROUPS))
_LARGEST = 1 << 62
"""number of steps or of a seed: torch counts in 64 bits"""
_MOST_ROWS = 1000
"""each is compared with every other one"""
_DECIDED = {
    "train.seed": "seeds",
    "train.epochs": "budget",
    "train.patience": "budget",  # every row trains to its end
}
"""keys that the file's own `seeds` and `budget` set for every row"""


@dataclass(frozen=True)
class Row:
    name: str
    overrides: tuple[str, ...]
    """KEY=VALUE of this row alone"""
    paper: float | None
    """the published figure, as printed there"""

    @property
    def slug(self) -> str:
        """The name of its folder."""
        return re.sub(r"[^A-Za-z0-9.+_-]+", "-", self.name).strip("-.")


@dataclass(frozen=True)
class Ablation:
    title: str
    base: Path
    common: tuple[str, ...]
    """KEY=VALUE for every row"""
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    epochs: int | None
    """of every run; None: `steps`"""
    steps: int | None
    """updates of the weights of every run, rounded up to whole epochs"""
    metric: str
    paper_title: str
    paper_source: str

    @property
    def budget(self) -> str:
        return f"{self.epochs} epochs" if self.epochs else f"{self.steps} steps, rounded up to whole epochs,"

    def config(self, row: Row, seed: int, epochs: int) -> Config:
        decided = (f"train.seed={seed}", f"train.epochs={epochs}", "train.patience=0")
        try:
            return load_config(self.base, (*self.common, *row.overrides, *decided))
        except UserError as error:
            raise UserError(f"row '{row.name}': {error}") from None


def load_ablation(path: Path, overrides: tuple[str, ...] = ()) -> Ablation:
    """Reads and checks the file, each row's config included; `overrides`: KEY=VALUE for every row, over the file's own
    `set`. Raises UserError before anything is trained."""
    read, path = read_recipe(path, "ablation")
    content = _mapping(read, str(path))
    origin = str(path)
    _require_keys(content, ("title", "base", "set", "seeds", "budget", "metric", "paper", "rows"), origin)
    if not isinstance(content.get("base"), str):
        raise UserError(f"{origin}: base must name a recipe, relative to this file, got {content.get('base')!r}")
    paper = _mapping(content.get("paper"), f"{origin}: paper")
    _require_keys(paper, ("title", "source"), f"{origin}: paper")
    metric = content.get("metric", METRICS[0])
    if metric not in METRICS:
        raise UserError(f"{origin}: metric must be one of {', '.join(METRICS)}, got {metric!r}")
    epochs, steps = _budget(content.get("budget"), origin)
    ablation = Ablation(
        title=str(content.get("title", path.stem)),
        base=path.parent / content["base"],
        common=(*_flatten(content.get("set"), f"{origin}: set"), *overrides),
        rows=_rows(content.get("rows"), origin),
        seeds=check_seeds(content.get("seeds", [0]), f"{origin}: seeds"),
        epochs=epochs,
        steps=steps,
        metric=metric,
        paper_title=str(paper.get("title", "")),
        paper_source=str(paper.get("source", "")),
    )
    _check_rows(ablation, overrides, origin)
    return ablation


def check_seeds(seeds: Any, origin: str) -> tuple[int, ...]:
    whole = isinstance(seeds, list) and seeds and all(type(seed) is int and 0 <= seed <= _LARGEST for seed in seeds)
    if not whole or len(set(seeds)) != len(seeds):
        raise UserError(f"{origin} must be a list of different whole numbers from 0 up, got {seeds!r}")
    return tuple(seeds)


def _budget(budget: Any, origin: str) -> tuple[int | None, int | None]:
    (kind, amount), *more = _mapping(budget, f"{origin}: budget").items() or [("", None)]
    if more or kind not in ("epochs", "steps") or type(amount) is not int or not 1 <= amount <= _LARGEST:
        raise UserError(
            f"{origin}: budget must be one of {{epochs: N}} and {{steps: N}}, N from 1 up, got {str(budget)[:200]}"
        )
    return (amount, None) if kind == "epochs" else (None, amount)


def _rows(content: Any, origin: str) -> tuple[Row, ...]:
    rows = []
    for name, entry in _mapping(content, f"{origin}: rows").items():
        where = f"{origin}: row '{name}'"
        entry = _mapping(entry, where)
        _require_keys(entry, ("set", "paper"), where)
        paper = entry.get("paper")
        if paper is not None and (isinstance(paper, bool) or not isinstance(paper, int | float) or paper != paper):
            raise UserError(f"{where}: paper must be the published number or null, got {paper!r}")
        rows.append(Row(str(name), _flatten(entry.get("set"), f"{where}: set"), paper))
    if len(rows) > _MOST_ROWS:
        raise UserError(f"{origin}: rows are {len(rows):,}, at most {_MOST_ROWS:,} are trained: split the file")
    if not rows:
        raise UserError(f"{origin}: rows must name at least one row, such as 'beta 2: {{set: {{loss.beta: 2}}}}'")
    taken: dict[str, str] = {}
    for row in rows:
        other = taken.setdefault(row.slug.lower(), row.name)
        if not row.slug or other != row.name:
            clash = f"like row '{other}'" if row.slug else "without a letter or digit"
            raise UserError(f"{origin}: row '{row.name}' would have a folder {clash}: give it another name")
    return tuple(rows)


def _check_rows(ablation: Ablation, overrides: tuple[str, ...], origin: str) -> None:
    """Every row loads, no two are the same training, and nothing sets what the file or its rows decide."""
    given = [("set", key) for key in map(_key, ablation.common)]
    given += [(f"row '{row.name}'", key) for row in ablation.rows for key in map(_key, row.overrides)]
    for where, key in given:
        for decided, by in _DECIDED.items():
            if decided == key or decided.startswith(f"{key}."):
                raise UserError(f"{origin}: {where} sets {key}, which `{by}` decides for every row alike: leave it out")
    for key in map(_key, overrides):
        for row in ablation.rows:
            if any(
                key == own or own.startswith(f"{key}.") or key.startswith(f"{own}.") for own in map(_key, row.overrides)
            ):
                raise UserError(f"--set {key} is what row '{row.name}' of {origin} sets: leave one of them out")
    configs: list[tuple[str, Config]] = []
    for row in ablation.rows:
        config = ablation.config(row, seed=ablation.seeds[0], epochs=1)
        for name, other in configs:
            if not differences(config, other):
                raise UserError(f"{origin}: rows '{name}' and '{row.name}' are the same training: change one of them")
        configs.append((row.name, config))


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


def _flatten(content: Any, origin: str, parents: tuple[str, ...] = ()) -> tuple[str, ...]:
    """{loss: {beta: 0}} and {loss.beta: 0} alike -> ("loss.beta=0",): a section's other keys stay as they are."""
    lines: list[str] = []
    for key, value in _mapping(content, origin).items():
        if not isinstance(key, str):
            raise UserError(f"{origin}: keys such as loss.beta are expected, got {key!r}")
        path = (*parents, key)
        if isinstance(value, dict):
            lines += _flatten(value, origin, path)
        else:
            lines.append(f"{'.'.join(path)}={_yaml_value(value)}")
    return tuple(lines)


def _yaml_value(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if value != value else (".inf" if value > 0 else "-.inf")
    return json.dumps(value, ensure_ascii=False, default=str)  # JSON is YAML; a date is text


def _mapping(content: Any, origin: str) -> dict[Any, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{origin} must hold keys and values, got {content!r}")
    return content


def _require_keys(content: dict[Any, Any], known: tuple[str, ...], origin: str) -> None:
    for key in content:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
            raise UserError(f"{origin}: unknown key '{key}': {hint}")
