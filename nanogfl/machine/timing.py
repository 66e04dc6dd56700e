"""The one timing loop, so that two figures from nanogfl were always measured the same way."""

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
    """(rounds,) every call, in the order of the rounds: what `speedup` pairs"""

    def summary(self) -> dict[str, float]:
        """p50, p95, min and rounds, without the samples: what goes into JSON."""
        return {"p50": self.p50, "p95": self.p95, "min": self.min, "rounds": self.rounds}


@dataclass(frozen=True)
class Speedup:
    """How many times as fast one call is as another: quartiles over the rounds."""

    q25: float
    p50: float
    q75: float


def measure(
    calls: Mapping[str, Callable[[], object]],
    rounds: int = 100,
    warmup: int = 10,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Timing]:
    """Times each call once a round: a machine that slows down slows all of them alike.

    The order within a round is drawn anew for each, the same in every run: in a fixed order a call would always find
    the caches and threads that the same other call left, and a part could take longer than its whole.
    The first `warmup` rounds are not counted. `clock` returns nanoseconds.
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
    """Of any number of values in a fixed memory: exact up to `most`, then of a random sample of as many."""

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
        """Raises statistics.StatisticsError where nothing was added."""
        return statistics.median(self._sample)


def summarise(milliseconds: ArrayLike) -> Timing:
    """(rounds,) milliseconds -> their Timing."""
    samples = np.asarray(milliseconds, dtype=np.float64)
    p50, p95 = np.percentile(samples, [50, 95])
    return Timing(float(p50), float(p95), float(samples.min()), len(samples), tuple(samples.tolist()))


def speedup(of: Timing, over: Timing) -> Speedup:
    """How many times as fast `of` is as `over`, both from one `measure`: the ratio is taken within each round, where
    both met the same machine, and only then the quartiles."""
    if not of.samples or len(of.samples) != len(over.samples):
        raise ValueError(f"a ratio pairs the rounds of one run, got {len(of.samples)} and {len(over.samples)} rounds")
    q25, p50, q75 = np.percentile(np.divide(over.samples, of.samples), [25, 50, 75])
    return Speedup(float(q25), float(p50), float(q75))
