"""The table as a picture: a point a row with its range over seeds; the paper's figures on an axis of their own."""

from pathlib import Path

from nanogfl.ablate.spec import Ablation
from nanogfl.ablate.table import Line, metric_name
from nanogfl.io.atomic import atomic_path

_OURS, _PAPER, _PALE = "#1f77b4", "#d62728", "#9db8cf"


def save_plot(path: Path, ablation: Ablation, lines: list[Line]) -> None:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot: no display, no global state
    from matplotlib.figure import Figure

    with_paper = any(line.row.paper is not None for line in lines)
    figure = Figure(figsize=(10.5 if with_paper else 7.5, 1.7 + 0.45 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[Axes] = list(figure.subplots(1, 1 + with_paper, sharey=True, squeeze=False)[0])
    ours = axes[0]
    for y, line in enumerate(lines):
        if line.spread is not None:
            ours.plot(line.spread, (y, y), color=_OURS, linewidth=2, solid_capstyle="round", zorder=2)
        ours.plot(line.known, [y] * len(line.known), "o", color=_PALE, markersize=5, zorder=3, clip_on=False)
        if line.mean is not None:
            ours.plot(line.mean, y, "o", color=_OURS, markersize=9, zorder=4)
            ours.annotate(f"{line.mean:.1f}", (line.mean, y), (0, 7), textcoords="offset points", ha="center")
        else:
            ours.annotate(
                "n/a" if line.values else "missing",
                (0.5, y),
                xycoords=("axes fraction", "data"),
                ha="center",
                va="center",
                color="gray",
            )
        if with_paper and line.row.paper is not None:
            axes[1].plot(line.row.paper, y, "D", color=_PAPER, markersize=7, zorder=3)
            axes[1].annotate(
                f"{line.row.paper:.1f}", (line.row.paper, y), (0, 7), textcoords="offset points", ha="center"
            )
    names = [f"{line.row.name}{' *' if line.missing else ''}" for line in lines]
    ours.set_yticks(range(len(lines)), names)
    ours.set_ylim(len(lines) - 0.5, -0.7)  # the first row on top, with room for its number
    seeds = f"{len(ablation.seeds)} seed{'s' * (len(ablation.seeds) > 1)}"
    ours.set(title=f"ours: mean, range and runs of {seeds}", xlabel=f"{metric_name(ablation.metric)} (%)")
    if with_paper:
        axes[1].set(title=f"paper: {ablation.paper_title}", xlabel="as published (%)")
        axes[1].tick_params(left=False)
    for part in axes:
        part.grid(axis="x", alpha=0.3)
        part.margins(x=0.12)
        part.spines[["top", "right"]].set_visible(False)
    missing = any(line.missing for line in lines)
    figure.suptitle(ablation.title + (" (* not all runs are finished)" if missing else ""))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
