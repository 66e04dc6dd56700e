"""The results of a bench in a model's card: `nanogfl bench --card` writes them, `nanogfl info` shows them."""

from datetime import date
from pathlib import Path
from typing import Any

from nanogfl import __version__
from nanogfl_deploy.bench.cost import STAGES
from nanogfl_deploy.bench.table import Report


def card_figures(report: Report, model: str, day: date) -> dict[str, Any]:
    """ModelCard.bench for one of the report's models: milliseconds per frame, seconds of a cold start.

    Names no folder of this machine: an image is named without its path.
    """
    height, width = report.frame_hw
    by_threads = {}
    for cost in report.costs:
        if cost.model == model:
            timings = {stage: getattr(cost, stage) for stage in STAGES}
            by_threads[str(cost.threads)] = {stage: {"p50": t.p50, "p95": t.p95} for stage, t in timings.items()}
    cold = report.cold.get(model, {})
    return {
        "date": day.isoformat(),
        "nanogfl": __version__,
        "machine": report.machine,
        "frame": {"name": Path(report.frame_name).name, "height": height, "width": width},
        "rounds": report.costs[0].total.rounds,
        "other_cores": report.other_cores,
        "threads": by_threads,
        "cold": {
            key: cold[key] for key in ("import", "open", "first", "total", "threads", "peak_bytes") if key in cold
        },
    }


def bench_rows(bench: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) rows for people from a card's `bench`; empty where nothing was measured."""
    if not bench:
        return []
    try:
        return _rows(bench)
    except (KeyError, TypeError, ValueError, AttributeError):
        return [("bench", "written by another version of nanogfl")]


def _rows(bench: dict[str, Any]) -> list[tuple[str, str]]:
    about, frame = bench["machine"], bench["frame"]
    rows = [
        (
            "bench",
            f"{bench['date']} on {about['cpu']} ({about['cores']} cores), onnxruntime {about['onnxruntime']},"
            f" one frame {frame['width']}x{frame['height']}",
        )
    ]
    for threads, figures in bench["threads"].items():
        pre, run, post = (figures[stage]["p50"] for stage in ("pre", "run", "post"))
        total = f"{figures['total']['p50']:.2f} ms per frame (p95 {figures['total']['p95']:.2f})"
        rows.append((f"bench threads {threads}", f"{total}: pre {pre:.2f}, model {run:.2f}, post {post:.2f}"))
    if cold := bench.get("cold"):
        memory = "" if cold["peak_bytes"] is None else f", peak memory {cold['peak_bytes'] / 1e6:.0f} MB"
        rows.append(("bench cold", f"{cold['total']:.2f} s from import to the first detection{memory}"))
    return rows
