"""The table of an ablation: mean and range over seeds beside the paper's figure, as Markdown, JSON and a plot."""

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nanogfl.ablate.spec import Ablation, as_overrides
from nanogfl.io.atomic import atomic_path


@dataclass(frozen=True)
class Result:
    """What a finished run leaves behind in its folder, as result.json."""

    row: str
    seed: int
    figures: dict[str, float | None]
    """every metric, 0 to 1, of the averaged weights after the last epoch; None: not available"""
    epochs: int
    seconds: float
    """of training and evaluation, over all resumptions"""
    config: dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One row of the table. Figures are in percent, as in papers; None: none, or not available."""

    name: str
    set: tuple[str, ...]
    mean: float | None
    spread: tuple[float, float] | None
    """smallest and largest of two or more"""
    deviation: float | None
    """standard deviation of a sample of two or more"""
    by_seed: dict[int, float | None]
    """of the finished runs"""
    missing_seeds: list[int]
    minutes: float | None
    """mean of the finished runs"""
    paper: float | None


def tabulate(ablation: Ablation, results: Sequence[Result]) -> list[Line]:
    """Every row in the file's order, finished or not."""
    lines = []
    for name, row in ablation.rows.items():
        own = {result.seed: result for result in results if result.row == name and result.seed in ablation.seeds}
        figures = {seed: own[seed].figures.get(ablation.metric) for seed in ablation.seeds if seed in own}
        by_seed = {seed: None if figure is None else 100 * figure for seed, figure in figures.items()}
        known = [value for value in by_seed.values() if value is not None]
        several = len(known) > 1
        lines.append(
            Line(
                name=name,
                set=as_overrides(row.set),
                mean=statistics.mean(known) if known else None,
                spread=(min(known), max(known)) if several else None,
                deviation=statistics.stdev(known) if several else None,
                by_seed=by_seed,
                missing_seeds=[seed for seed in ablation.seeds if seed not in own],
                minutes=statistics.mean(result.seconds for result in own.values()) / 60 if own else None,
                paper=row.paper,
            )
        )
    return lines


def write_table(ablation: Ablation, out: Path, results: Sequence[Result]) -> list[str]:
    """Writes ablation.json, ablation.md and ablation.png into `out`, and returns the lines of the Markdown table.

    Raises UserError where a file cannot be written.
    """
    lines = tabulate(ablation, results)
    save_plot(out / "ablation.png", ablation, lines)
    content = {
        **{key: getattr(ablation, key) for key in ("title", "metric", "seeds")},
        **asdict(ablation.budget),
        "unit": "percent",
        "common": as_overrides(ablation.set),
        "paper": asdict(ablation.paper),
        "complete": not any(line.missing_seeds for line in lines),
        "rows": [asdict(line) for line in lines],
    }
    table = markdown(ablation, lines)
    page = [f"# {escape(ablation.title)}", "", *table, "", f"![{ablation.metric}](ablation.png)", ""]
    for name, text in (("ablation.json", json.dumps(content, indent=1) + "\n"), ("ablation.md", "\n".join(page))):
        with atomic_path(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return table


def markdown(ablation: Ablation, lines: list[Line]) -> list[str]:
    """An aligned table, which a terminal can show as well, and notes below it."""
    papers = any(line.paper is not None for line in lines)
    cells = [["row", f"{metric_name(ablation.metric)} (%)", "min to max", "seeds", *["paper"] * papers, "minutes"]]
    for line in lines:
        mean = "n/a" if line.mean is None and line.by_seed else _number(line.mean)
        spread = "-" if line.spread is None else "{:.1f} to {:.1f}".format(*line.spread)
        seeds = f"{len(line.by_seed)} of {len(ablation.seeds)}"
        cells.append([escape(line.name), mean, spread, seeds, *[_number(line.paper)] * papers, _number(line.minutes)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    table = [f"| {' | '.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])} |" for row in cells]
    table.insert(1, f"|{'-' * (widths[0] + 2)}|{''.join('-' * (width + 1) + ':|' for width in widths[1:])}")

    seeds = ", ".join(map(str, ablation.seeds))
    notes = [f"{ablation.budget} per run, averaged weights of the last epoch; seeds {seeds}; minutes: mean per run"]
    if papers:
        source = f" ({ablation.paper.source})" if ablation.paper.source else ""
        title = ablation.paper.title or "as published"
        notes.append(f"paper: {title}{source}; compare differences between rows, not levels")
    if missing := [f"{line.name} seed {seed}" for line in lines for seed in line.missing_seeds]:
        notes.append(f"missing, {len(missing)} of {len(lines) * len(ablation.seeds)} runs: {', '.join(missing)}")
    return [*table, "", *(f"- {escape(note)}" for note in notes)]


def escape(text: str) -> str:
    """Text -> Markdown that shows it literally, also in a table cell."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def metric_name(metric: str) -> str:
    """ap_rare -> AP rare."""
    return metric.replace("ap", "AP", 1).replace("_", " ")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def save_plot(path: Path, ablation: Ablation, lines: list[Line]) -> None:
    """A PNG with a point and a range per row; the paper's figures have an axis of their own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot: no display, no global state
    from matplotlib.figure import Figure

    papers = any(line.paper is not None for line in lines)
    figure = Figure(figsize=(10.5 if papers else 7.5, 1.7 + 0.45 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    ours, *beside = figure.subplots(1, 1 + papers, sharey=True, squeeze=False)[0]

    def mark(axes: Any, value: float, y: int, style: str) -> None:
        axes.plot(value, y, style, markersize=8)
        axes.annotate(f"{value:.1f}", (value, y), (0, 7), textcoords="offset points", ha="center")

    for y, line in enumerate(lines):
        if line.mean is None:
            words = "n/a" if line.by_seed else "missing"
            ours.annotate(words, (0.5, y), xycoords=("axes fraction", "data"), ha="center")
        else:
            ours.plot(line.spread or (line.mean, line.mean), (y, y), "-", color="tab:blue")
            known = [value for value in line.by_seed.values() if value is not None]
            ours.plot(known, [y] * len(known), ".", color="gray")
            mark(ours, line.mean, y, "ob")
        if line.paper is not None:
            mark(beside[0], line.paper, y, "Dr")
    ours.set_yticks(range(len(lines)), [f"{line.name}{' *' * bool(line.missing_seeds)}" for line in lines])
    ours.set_ylim(len(lines) - 0.5, -0.7)  # the first row on top
    ours.set(title=f"ours: mean and range, {len(ablation.seeds)} seeds", xlabel=f"{metric_name(ablation.metric)} (%)")
    for axes in beside:
        axes.set(title=f"paper: {ablation.paper.title}", xlabel="as published (%)")
    for axes in (ours, *beside):
        axes.grid(axis="x", alpha=0.3)
        axes.margins(x=0.12)
    figure.suptitle(ablation.title + " (* not all runs are finished)" * any(line.missing_seeds for line in lines))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
