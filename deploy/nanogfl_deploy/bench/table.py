"""The results of `nanogfl bench`: a table for people, and one JSON object for scripts.

JSON: `machine`; `frame` {name, height, width}; `rounds`; `other_cores` (busy with other processes meanwhile); `costs`,
one per model and number of threads: {model, threads, input_hw, format, file_bytes, open_ms, detections, pre, run, post,
total: {p50, p95, min, rounds} in milliseconds, speedup: {run, total: {q25, p50, q75}} over the first model}; `cold`,
one per model: {model, import, open, first, total, process, slowest, disk_cold in seconds, peak_bytes, heavy, threads,
repeats}. `run` is the table's "model"; `peak_bytes` and `other_cores` are null where they are not known.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from nanogfl.machine.timing import Speedup, Timing
from nanogfl_deploy.bench.cost import STAGES, Cost

_BUSY = 0.15
"""cores that other processes may use before a warning"""
_TITLES = {"pre": "pre", "run": "model", "post": "post", "total": "total"}


@dataclass(frozen=True)
class Report:
    """The results of one run of `nanogfl bench`."""

    machine: dict[str, Any]
    frame_hw: tuple[int, int]
    frame_name: str
    costs: list[Cost]
    """model by model, each with every number of threads"""
    cold: dict[str, dict[str, Any]]
    """model -> the result of `cold_start`; empty where it was not asked for"""
    other_cores: float | None = None
    """cores that other processes used meanwhile; None where the system does not say"""

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(cost.model for cost in self.costs))

    def letter(self, model: str) -> str:
        """The model's name in the tables: A, B ... Z, 27, 28 ..."""
        index = self.models.index(model)
        return chr(ord("A") + index) if index < 26 else str(index + 1)


def table(report: Report) -> str:
    """The results for people."""
    about, (height, width) = report.machine, report.frame_hw
    lines = [
        f"{about['cpu']}, {about['cores']} cores, {about['system']}: {' '.join(about['instruction_sets'])}",
        f"onnxruntime {about['onnxruntime']}, OpenCV {about['opencv']}, numpy {about['numpy']},"
        f" Python {about['python']}",
        f"one frame {width}x{height} ({report.frame_name}), {report.costs[0].total.rounds} rounds in random order",
        *_disturbance(report),
        "",
        *_models(report),
        "",
        *_stages(report),
    ]
    if len(report.models) > 1:
        lines += ["", *_against(report)]
    if report.cold:
        lines += ["", *_cold(report)]
    return "\n".join(lines)


def as_json(report: Report) -> dict[str, Any]:
    """The same for scripts; the keys are listed at the head of this file."""
    height, width = report.frame_hw
    return {
        "machine": report.machine,
        "frame": {"name": report.frame_name, "height": height, "width": width},
        "rounds": report.costs[0].total.rounds,
        "other_cores": report.other_cores,
        "costs": [_cost_json(cost) for cost in report.costs],
        "cold": [{"model": model, **figures} for model, figures in report.cold.items()],
    }


def _cost_json(cost: Cost) -> dict[str, Any]:
    plain = ("model", "threads", "input_hw", "format", "file_bytes", "open_ms", "detections")
    return {
        **{key: getattr(cost, key) for key in plain},
        **{stage: getattr(cost, stage).summary() for stage in STAGES},
        "speedup": {"run": asdict(cost.run_speedup), "total": asdict(cost.total_speedup)},
    }


def _disturbance(report: Report) -> Iterator[str]:
    most = max(cost.threads for cost in report.costs)
    others, cores = report.other_cores, report.machine["cores"] or 1
    if others is not None and others >= _BUSY and others + most > cores - 1 + _BUSY:
        yield f"BUSY: other processes used {others:.1f} of {cores} cores meanwhile. Runs with more than"
        yield f"{_threads(max(1, int(cores - others)))} were slowed down, the others perhaps: repeat on an idle machine"


def _models(report: Report) -> Iterator[str]:
    for cost in report.costs[:: len(report.costs) // len(report.models)]:
        height, width = cost.input_hw
        yield (
            f"{report.letter(cost.model)}  {cost.model}: {cost.file_bytes / 2**20:.2f} MiB, H {height} W {width},"
            f" {cost.format}, {cost.detections} detections"
        )


def _stages(report: Report) -> Iterator[str]:
    yield f"{'ms per frame':<12}" + "".join(f"{_TITLES[stage]:>15}{'':9}" for stage in STAGES) + f"{'frames/s':>10}"
    yield f"{'   threads':<12}" + f"{'p50':>8}{'p95':>8}{'min':>8}" * len(STAGES)
    for cost in report.costs:
        cells = "".join(_three(getattr(cost, stage)) for stage in STAGES)
        yield f"{report.letter(cost.model):<3}{cost.threads:>7}  {cells}{1e3 / cost.total.p50:10.1f}"


def _three(timing: Timing) -> str:
    return f"{timing.p50:8.2f}{timing.p95:8.2f}{timing.min:8.2f}"


def _against(report: Report) -> Iterator[str]:
    first = report.letter(report.models[0])
    yield f"{'   threads':<12}{f'model, {first} = 1':>24}{f'total, {first} = 1':>24}"
    for cost in report.costs:
        if cost.model != report.models[0]:
            ratios = f"{_times(cost.run_speedup):>24}{_times(cost.total_speedup):>24}"
            yield f"{report.letter(cost.model):<3}{cost.threads:>7}  {ratios}"
    yield f"{first} = 1: how many times as fast as {first} with as many threads, median (quartiles) of the rounds."


def _times(ratio: Speedup) -> str:
    return f"{ratio.p50:.2f}x ({ratio.q25:.2f}-{ratio.q75:.2f})"


def _cold(report: Report) -> Iterator[str]:
    title = f"{'cold start, s':<14}{'import':>8}{'open':>8}{'first':>8}{'total':>8}{'slowest':>9}{'disk-cold':>11}"
    yield title + f"{'process':>9}{'peak memory':>14}"
    for model, found in report.cold.items():
        memory = "not known" if found["peak_bytes"] is None else f"{found['peak_bytes'] / 1e6:.1f} MB"
        row = f"{report.letter(model):<14}" + "".join(f"{found[key]:8.3f}" for key in ("import", "open", "first"))
        row += f"{found['total']:8.3f}{found['slowest']:9.3f}{found['disk_cold']:11.3f}{found['process']:9.3f}"
        yield row + f"{memory:>14}" + (f"  loads {', '.join(found['heavy'])}" if found["heavy"] else "")
    some = next(iter(report.cold.values()))
    processes = f"median of {some['repeats']} fresh processes, {_threads(some['threads'])}"
    yield f"{processes}: from importing nanogfl_deploy to the first detection;"
    yield "process: from Python's start to its end, with 10 more frames; peak memory: resident, the largest of all."


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"
