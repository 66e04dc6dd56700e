"""The one timing loop, so that two figures from nanogfl were always measured the same way."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call, over `rounds` calls."""

    p50: float
    p95: float
    min: float
    rounds: int


def measure(
    calls: Mapping[str, Callable[[], object]],
    rounds: int = 100,
    warmup: int = 10,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Timing]:
    """Times each call `rounds` times, round robin: a machine that slows down slows all of them alike.

    The first `warmup` rounds are not counted. `clock` returns nanoseconds.
    """
    if rounds < 1 or warmup < 0:
        raise ValueError(f"measure needs at least 1 round and 0 rounds of warm-up, got {rounds} and {warmup}")
    spent: dict[str, list[int]] = {name: [] for name in calls}
    for round_index in range(warmup + rounds):
        for name, call in calls.items():
            start = clock()
            call()
            elapsed = clock() - start
            if round_index >= warmup:
                spent[name].append(elapsed)
    return {name: _summary(np.array(nanoseconds, dtype=np.float64) / 1e6) for name, nanoseconds in spent.items()}


def _summary(milliseconds: NDArray[np.float64]) -> Timing:
    p50, p95 = np.percentile(milliseconds, [50, 95])
    return Timing(float(p50), float(p95), float(milliseconds.min()), len(milliseconds))
