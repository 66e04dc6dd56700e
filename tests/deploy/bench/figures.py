"""Invented bench results for the tests of tables, cards and plots."""

from nanogfl.machine.timing import Speedup, summarise
from nanogfl_deploy.bench.cost import Cost
from nanogfl_deploy.bench.table import Report

MACHINE = {
    "cpu": "Some CPU",
    "cores": 4,
    "instruction_sets": ["avx2", "fma"],
    "system": "Linux x86_64",
    "python": "3.11.7",
    "onnxruntime": "1.20.0",
    "opencv": "5.0.0",
    "numpy": "2.0.0",
}
COLD = {
    **{"import": 0.2, "open": 0.05, "first": 0.03, "total": 0.28, "process": 0.6, "slowest": 0.31, "disk_cold": 0.9},
    **{"peak_bytes": 123_400_000, "heavy": [], "threads": 1, "repeats": 5},
}


def some_cost(model="a.onnx", threads=1, pre=1.0, run=10.0, post=0.5, times=1.0):
    """`times`: as fast as the first model, with quartiles .01 below and .02 above."""
    ratio = Speedup(1.0, 1.0, 1.0) if times == 1 else Speedup(times - 0.01, times, times + 0.02)
    stages = {"pre": pre, "run": run, "post": post, "total": pre + run + post}
    return Cost(
        model=model,
        threads=threads,
        input_hw=(64, 96),
        format="detections",
        file_bytes=3 * 2**20,
        open_ms=30.0,
        detections=7,
        **{name: summarise([value, value, value * 2]) for name, value in stages.items()},
        run_speedup=ratio,
        total_speedup=ratio,
    )


def some_report(costs=None, cold=None):
    costs = costs or [some_cost(), some_cost(threads=2, run=6.0), some_cost("b.onnx", run=5.0, times=1.84)]
    return Report(MACHINE, (720, 1280), "textured, generated", costs, cold or {})
