"""The only timing loop: all of our figures are measured the same way."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call, over `rounds` calls."""

    p50: float
    p95: float
    min: float
    rounds: int
    samples: tuple[float, ...] = field(default=(), repr=False)
    """(rounds,) milliseconds of every call, in the order of the rounds; `speedup` pairs them"""

    def summary(self) -> dict[str, float]:
        """p50, p95, min and rounds, for JSON."""
        return {"p50": self.p50, "p95": self.p95, "min": self.min, "rounds": self.rounds}


@dataclass(frozen=True)
class Speedup:
    """Speed of one call relative to another: quartiles over the rounds. 2.0: twice as fast."""

    q25: float
    p50: float
    q75: float


def measure(
    calls: Mapping[str, Callable[[], object]],
    rounds: int = 100,
    warmup: int = 10,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Timing]:
    """Times each call once per round, so that a machine that slows down affects all calls alike.

    Each round has a random order of calls, the same in every run: in a fixed order a call would always find the caches
    and threads as the same other call left them. The first `warmup` rounds are not counted. `clock` returns
    nanoseconds. Raises ValueError for less than 1 round.
    """
    if rounds < 1 or warmup < 0:
        raise ValueError(f"measure needs at least 1 round and 0 rounds of warm-up, got {rounds} and {warmup}")
    spent: dict[str, list[int]] = {name: [] for name in calls}
    order, draw = list(calls), random.Random(20200604)
    for round_index in range(warmup + rounds):
        draw.shuffle(order)
        for name in order:
            call = calls[name]
            start = clock()
            call()
            elapsed = clock() - start
            if round_index >= warmup:
                spent[name].append(elapsed)
    return {name: summarise(np.array(nanoseconds, dtype=np.float64) / 1e6) for name, nanoseconds in spent.items()}


class RunningMedian:
    """The median of any number of values in fixed memory: exact up to `most` values, then of a random sample."""

    def __init__(self, most: int = 4096) -> None:
        self.count = 0
        self._most = most
        self._sample: list[float] = []
        self._draw = random.Random(20200604)

    def add(self, value: float) -> None:
        self.count += 1
        if len(self._sample) < self._most:
            self._sample.append(value)
        elif (place := self._draw.randrange(self.count)) < self._most:
            self._sample[place] = value

    def value(self) -> float:
        """Raises statistics.StatisticsError if nothing was added."""
        return statistics.median(self._sample)


def summarise(milliseconds: ArrayLike) -> Timing:
    """(rounds,) milliseconds -> Timing."""
    samples = np.asarray(milliseconds, dtype=np.float64)
    p50, p95 = np.percentile(samples, [50, 95])
    return Timing(float(p50), float(p95), float(samples.min()), len(samples), tuple(samples.tolist()))


def speedup(of: Timing, over: Timing) -> Speedup:
    """How many times as fast `of` is as `over`, both from one `measure`. Ratios are taken per round, in which both met
    the same conditions; quartiles of these follow. Raises ValueError for timings of different runs."""
    if not of.samples or len(of.samples) != len(over.samples):
        raise ValueError(f"a ratio pairs the rounds of one run, got {len(of.samples)} and {len(over.samples)} rounds")
    q25, p50, q75 = np.percentile(np.divide(over.samples, of.samples), [25, 50, 75])
    return Speedup(float(q25), float(p50), float(q75))
