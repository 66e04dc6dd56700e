"""What a detector costs on this machine: pre (resize), run (network), post (selection, boxes to frame pixels), total.

OpenCV keeps its own threads for the resize; with 2 instead of 1 it was no faster for 1280x720 (0.15 ms at 320).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.machine.timing import Speedup, Timing, measure, speedup
from nanogfl_deploy.runtime import Detector

STAGES = ("pre", "run", "post", "total")


@dataclass(frozen=True)
class Cost:
    """One model with one number of threads; times in milliseconds per frame."""

    model: str
    threads: int
    input_hw: tuple[int, int]
    format: str
    file_bytes: int
    open_ms: float
    """making the onnxruntime session, once"""
    detections: int
    """in the frame that was timed; the cost of post depends on it"""
    pre: Timing
    run: Timing
    post: Timing
    total: Timing
    """timed as one call, not the sum of the other three"""
    run_speedup: Speedup
    """over the first model with as many threads, round by round"""
    total_speedup: Speedup


def textured_frame(height: int = 720, width: int = 1280) -> NDArray[np.uint8]:
    """The same frame uint8 (H, W, 3) BGR on every machine: smooth noise, fine noise and rectangles."""
    rng = np.random.default_rng(20200604)
    coarse = rng.integers(0, 256, (max(1, height // 40), max(1, width // 40), 3), dtype=np.uint8)
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
    """Times every model with every number of threads on one frame uint8 (h, w, 3) BGR, interleaved.

    Returns the costs model by model. Raises UserError for a file that is no model.
    """
    opened = [_open(path, threads) for path in paths for threads in thread_counts]
    calls: dict[str, Callable[[], object]] = {}
    for index, (detector, _, _) in enumerate(opened):
        calls.update(_stages(index, detector, frame))
    timings = measure(calls, rounds, warmup=max(3, rounds // 10))
    costs = []
    for index, (detector, threads, open_ms) in enumerate(opened):
        mine = {stage: timings[f"{index} {stage}"] for stage in STAGES}
        first = index % len(thread_counts)  # the first model with as many threads
        costs.append(
            Cost(
                model=str(detector.path),
                threads=threads,
                input_hw=detector.card.input.hw,
                format=detector.card.format,
                file_bytes=detector.path.stat().st_size,
                open_ms=open_ms,
                detections=len(detector(frame)),
                **mine,
                run_speedup=speedup(mine["run"], timings[f"{first} run"]),
                total_speedup=speedup(mine["total"], timings[f"{first} total"]),
            )
        )
    return costs


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
