"""A bench's figures in a model's card: what `nanogfl bench --card` writes and `nanogfl info` shows."""

from datetime import date
from pathlib import Path
from typing import Any

from nanogfl import __version__
from nanogfl_deploy.bench.table import STAGES, Report


def card_figures(report: Report, model: str, day: date) -> dict[str, Any]:
    """ModelCard.bench for one of the report's models; milliseconds a frame, seconds of a cold start.

    Nothing in it names a folder of this machine: an image is named without its path.
    """
    height, width = report.frame_hw
    by_threads = {}
    for cost in report.costs:
        if cost.model == model:
            stages = {stage: _p50_p95(getattr(cost, stage).summary()) for stage in STAGES}
            by_threads[str(cost.threads)] = {**stages, "limit_macs_per_second": cost.limit, "share": cost.share}
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
    """(name, value) rows for people from a card's `bench`; none where nothing was measured."""
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
        share = "" if figures["share"] is None else f"; {figures['share'] * 100:.0f} % of the CPU's limit"
        parts = ", ".join(f"{title} {figures[key]['p50']:.2f}" for key, title in (("pre", "pre"), ("run", "model")))
        total = f"{figures['total']['p50']:.2f} ms a frame (p95 {figures['total']['p95']:.2f})"
        rows.append((f"bench threads {threads}", f"{total}: {parts}, post {figures['post']['p50']:.2f}{share}"))
    if cold := bench.get("cold"):
        memory = "" if cold["peak_bytes"] is None else f", peak memory {cold['peak_bytes'] / 1e6:.0f} MB"
        rows.append(("bench cold", f"{cold['total']:.2f} s from import to the first detection{memory}"))
    return rows


def _p50_p95(summary: dict[str, float]) -> dict[str, float]:
    return {"p50": summary["p50"], "p95": summary["p95"]}
