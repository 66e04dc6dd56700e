"""What a detector costs on this machine: pre (resize), model (onnxruntime), post (selection, way back) and all of it.

OpenCV keeps its own threads for the resize; with 2 instead of 1 it was no faster for 1280x720 (0.15 ms at 320).
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nanogfl.contract.timing import Timing, measure
from nanogfl_deploy.runtime import Detector


@dataclass(frozen=True)
class Cost:
    """One model with one number of threads; times in milliseconds a frame."""

    model: str
    threads: int
    input_hw: tuple[int, int]
    format: str
    file_bytes: int
    open_ms: float
    """making the onnxruntime session, once"""
    detections: int
    """in the frame that was timed; what post costs depends on it"""
    pre: Timing
    run: Timing
    post: Timing
    total: Timing
    """timed by itself as one call, not the sum of the other three"""


def textured_frame(height: int = 720, width: int = 1280) -> NDArray[np.uint8]:
    """The same frame (height, width, 3) BGR everywhere: smooth noise, fine noise and rectangles."""
    rng = np.random.default_rng(20200604)
    coarse = rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8)
    frame = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(24):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        far = (x + int(rng.integers(20, 240)), y + int(rng.integers(20, 240)))
        cv2.rectangle(frame, (x, y), far, [int(value) for value in rng.integers(0, 256, 3)], cv2.FILLED)
    fine = rng.integers(-12, 13, (height, width, 3), dtype=np.int16)
    return np.asarray(np.clip(frame.astype(np.int16) + fine, 0, 255), dtype=np.uint8)


def measure_costs(
    paths: Sequence[Path], thread_counts: Sequence[int], frame: NDArray[np.uint8], rounds: int = 100
) -> list[Cost]:
    """Every model with every number of threads on one frame, interleaved."""
    opened = [_open(path, threads) for path in paths for threads in thread_counts]
    calls: dict[str, Callable[[], object]] = {}
    for index, (detector, _, _) in enumerate(opened):
        calls.update(_stages(index, detector, frame))
    timings = measure(calls, rounds, warmup=max(3, rounds // 10))
    return [
        Cost(
            model=str(detector.path),
            threads=threads,
            input_hw=detector.card.input.hw,
            format=detector.card.format,
            file_bytes=detector.path.stat().st_size,
            open_ms=open_ms,
            detections=len(detector(frame)),
            pre=timings[f"{index} pre"],
            run=timings[f"{index} run"],
            post=timings[f"{index} post"],
            total=timings[f"{index} total"],
        )
        for index, (detector, threads, open_ms) in enumerate(opened)
    ]


def machine() -> dict[str, Any]:
    """What a figure must be read with."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "onnxruntime": onnxruntime.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }


def table(costs: Sequence[Cost], frame_hw: tuple[int, int], frame_name: str) -> str:
    """The figures for people."""
    about = machine()
    lines = [
        f"CPU {about['cpu']}, {about['cores']} cores, {about['system']}; onnxruntime {about['onnxruntime']},"
        f" OpenCV {about['opencv']}, numpy {about['numpy']}",
        f"one frame {frame_hw[1]}x{frame_hw[0]} ({frame_name}), {costs[0].total.rounds} rounds in turns; ms a frame",
    ]
    for cost in costs:
        height, width = cost.input_hw
        lines += [
            "",
            f"{cost.model}: {cost.file_bytes / 2**20:.2f} MiB, input H {height} W {width}, {cost.format},"
            f" {cost.detections} detections, session opened in {cost.open_ms:.0f} ms",
            f"  {'threads ' + str(cost.threads):<12}{'p50':>9}{'p95':>9}{'min':>9}",
        ]
        for name, timing in (("pre", cost.pre), ("model", cost.run), ("post", cost.post), ("total", cost.total)):
            lines.append(f"  {name:<12}{timing.p50:9.2f}{timing.p95:9.2f}{timing.min:9.2f}")
    return "\n".join(lines)


def as_json(costs: Sequence[Cost], frame_hw: tuple[int, int], frame_name: str) -> dict[str, Any]:
    """The same for scripts; `run` is the table's "model"."""
    frame = {"name": frame_name, "height": frame_hw[0], "width": frame_hw[1]}
    return {"machine": machine(), "frame": frame, "costs": [asdict(cost) for cost in costs]}


def _open(path: Path, threads: int) -> tuple[Detector, int, float]:
    start = time.perf_counter()
    detector = Detector(path, threads)
    return detector, threads, (time.perf_counter() - start) * 1e3


def _stages(index: int, detector: Detector, frame: NDArray[np.uint8]) -> dict[str, Callable[[], object]]:
    image, placement = detector.prepare(frame)
    outputs = detector.run(image)
    return {
        f"{index} pre": lambda: detector.prepare(frame),
        f"{index} run": lambda: detector.run(image),
        f"{index} post": lambda: detector.finish(outputs, placement),
        f"{index} total": lambda: detector(frame),
    }


def cpu_name() -> str:
    """The processor as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):  # x86; a Raspberry Pi names its board
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
