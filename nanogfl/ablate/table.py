"""The table of an ablation: each row's mean and range over seeds beside the paper's figure; as text, Markdown, JSON."""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nanogfl.ablate.result import Result
from nanogfl.ablate.spec import Ablation, Row


@dataclass(frozen=True)
class Line:
    """One row of the table. Figures in percent, as papers print them."""

    row: Row
    values: dict[int, float | None]
    """by seed, for the finished runs; None: n/a"""
    missing: tuple[int, ...]
    """seeds without a finished run"""
    minutes: float | None
    """mean of the finished runs"""

    @property
    def known(self) -> list[float]:
        return [value for value in self.values.values() if value is not None]

    @property
    def mean(self) -> float | None:
        return statistics.mean(self.known) if self.known else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """Smallest and largest over the seeds; None for fewer than two."""
        return (min(self.known), max(self.known)) if len(self.known) > 1 else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation of a sample; None for fewer than two."""
        return statistics.stdev(self.known) if len(self.known) > 1 else None


def tabulate(ablation: Ablation, results: Sequence[Result]) -> list[Line]:
    """Every row, in the file's order, finished or not."""
    lines = []
    for row in ablation.rows:
        own = {result.seed: result for result in results if result.row == row.name}
        values = {seed: _percent(own[seed].figures.get(ablation.metric)) for seed in ablation.seeds if seed in own}
        minutes = statistics.mean(own[seed].seconds for seed in values) / 60 if values else None
        lines.append(Line(row, values, tuple(seed for seed in ablation.seeds if seed not in own), minutes))
    return lines


def format_table(ablation: Ablation, lines: list[Line]) -> str:
    """For a terminal."""
    cells = [_header(ablation), *(_cells(ablation, line) for line in lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    shown = ["  ".join(_align(text, width, k) for k, (text, width) in enumerate(zip(row, widths, strict=True))).rstrip()
             for row in cells]  # fmt: skip
    return "\n".join([ablation.title, *shown, *_notes(ablation, lines)])


def markdown(ablation: Ablation, lines: list[Line], plot: str) -> str:
    """A page with the table and the picture `plot`."""
    header = _header(ablation)
    table = [
        _markdown_row(header),
        "|" + "|".join("---" if column == 0 else "---:" for column in range(len(header))) + "|",
        *(_markdown_row(_cells(ablation, line)) for line in lines),
    ]
    notes = "\n".join(f"- {escape(note)}" for note in _notes(ablation, lines))
    return f"# {escape(ablation.title)}\n\n" + "\n".join(table) + f"\n\n{notes}\n\n![{ablation.metric}]({plot})\n"


def to_dict(ablation: Ablation, lines: list[Line]) -> dict[str, Any]:
    rows = [
        {
            "name": line.row.name,
            "set": list(line.row.overrides),
            "mean": line.mean,
            "spread": line.spread,
            "deviation": line.deviation,
            "by_seed": {str(seed): value for seed, value in line.values.items()},
            "missing_seeds": list(line.missing),
            "minutes": line.minutes,
            "paper": line.row.paper,
        }
        for line in lines
    ]
    return {
        "title": ablation.title,
        "metric": ablation.metric,
        "unit": "percent",
        "epochs": ablation.epochs,
        "steps": ablation.steps,
        "seeds": list(ablation.seeds),
        "common": list(ablation.common),
        "paper": {"title": ablation.paper_title, "source": ablation.paper_source},
        "complete": not any(line.missing for line in lines),
        "rows": rows,
    }


def escape(text: str) -> str:
    """Text -> Markdown that shows it as it is, in a table's cell, too."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def metric_name(metric: str) -> str:
    """ap_rare -> AP rare."""
    return metric.replace("ap", "AP", 1).replace("_", " ")


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _has_paper(ablation: Ablation) -> bool:
    return any(row.paper is not None for row in ablation.rows)


def _header(ablation: Ablation) -> list[str]:
    paper = ["paper"] if _has_paper(ablation) else []
    return ["row", f"{metric_name(ablation.metric)} (%)", "min to max", "seeds", *paper, "minutes"]


def _cells(ablation: Ablation, line: Line) -> list[str]:
    mean = _show(line.mean) if line.known or not line.values else "n/a"
    spread = "-" if line.spread is None else f"{line.spread[0]:.1f} to {line.spread[1]:.1f}"
    seeds = f"{len(line.values)} of {len(ablation.seeds)}"
    paper = [_show(line.row.paper)] if _has_paper(ablation) else []
    return [line.row.name, mean, spread, seeds, *paper, _show(line.minutes)]


def _notes(ablation: Ablation, lines: list[Line]) -> list[str]:
    whose = f" ({ablation.paper_source})" if ablation.paper_source else ""
    notes = [
        f"{ablation.budget} a run, the last epoch's averaged weights; seeds {', '.join(map(str, ablation.seeds))};"
        " minutes: mean a run"
    ]
    if _has_paper(ablation):
        notes.append(
            f"paper: {ablation.paper_title or 'as published'}{whose}; compare differences between rows, not levels"
        )
    missing = [f"{line.row.name} seed {seed}" for line in lines for seed in line.missing]
    if missing:
        notes.append(f"missing, {len(missing)} of {len(lines) * len(ablation.seeds)} runs: {', '.join(missing)}")
    return notes


def _align(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column == 0 else text.rjust(width)


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"
