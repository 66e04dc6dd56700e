"""The timing loop under a clock that the test turns."""

import tracemalloc
from itertools import pairwise

import pytest

from nanogfl.machine.timing import RunningMedian, Speedup, measure, speedup, summarise


class Clock:
    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now

    def spend(self, milliseconds):
        self.now += round(milliseconds * 1e6)


def test_percentiles_are_those_of_the_counted_rounds_only():
    clock = Clock()
    spends = iter([1000, 500, *range(1, 102)])  # two slow rounds of warm-up, then 1 to 101 ms
    timing = measure({"a": lambda: clock.spend(next(spends))}, rounds=101, warmup=2, clock=clock)["a"]
    assert (timing.p50, timing.p95, timing.min, timing.rounds) == (51.0, 96.0, 1.0, 101)
    assert timing.samples == tuple(range(1, 102))
    assert timing.summary() == {"p50": 51.0, "p95": 96.0, "min": 1.0, "rounds": 101}


def test_every_round_has_every_call_once():
    order = []
    measure({name: lambda name=name: order.append(name) for name in "abc"}, rounds=40, warmup=2)
    rounds = ["".join(order[start : start + 3]) for start in range(0, len(order), 3)]
    assert len(rounds) == 42
    assert all(sorted(one) == list("abc") for one in rounds)


def test_no_call_always_follows_the_same_other_call():
    """In a fixed order `total` always found the caches as `post` of the same model had left them, and `model` found
    another model's: a part took longer than the whole."""
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abcd"}
    measure(calls, rounds=200, warmup=0)
    pairs = [pair for pair in pairwise(order) if pair[1] == "d"]
    for name in "abc":
        assert 0.2 < pairs.count((name, "d")) / len(pairs) < 0.45
    first, order[:] = list(order), []
    measure(calls, rounds=200, warmup=0)
    assert order == first  # two runs do the same work in the same order


def test_a_call_is_charged_for_its_own_time_only():
    clock = Clock()
    timings = measure({"a": lambda: clock.spend(3), "b": lambda: clock.spend(7)}, rounds=3, warmup=0, clock=clock)
    assert (timings["a"].p50, timings["b"].p50) == (3.0, 7.0)


def test_a_ratio_survives_a_machine_that_slows_down():
    """b takes half as long but for one round in which the machine was busy: 12 / 8 of the medians says 1.5."""
    a = summarise([2, 4, 12, 20, 40])
    b = summarise([1, 8, 6, 10, 20])
    assert a.p50 / b.p50 == 1.5
    assert speedup(b, a) == Speedup(2.0, 2.0, 2.0)
    assert speedup(a, b) == Speedup(0.5, 0.5, 0.5)


def test_a_ratio_has_its_quartiles():
    assert speedup(summarise([1] * 5), summarise([1, 2, 3, 4, 5])) == Speedup(2.0, 3.0, 4.0)


def test_only_rounds_of_one_run_have_a_ratio():
    with pytest.raises(ValueError, match="got 2 and 3 rounds"):
        speedup(summarise([1, 2]), summarise([1, 2, 3]))


def test_zero_rounds_are_refused():
    with pytest.raises(ValueError, match="at least 1 round"):
        measure({}, rounds=0)


def test_a_running_median_is_exact_at_first_and_close_later():
    running = RunningMedian(most=100)
    for value in (3.0, 1.0, 2.0):
        running.add(value)
    assert running.value() == 2
    for value in range(10_000):
        running.add(value)
    assert running.count == 10_003
    assert 3500 < running.value() < 6500


def test_a_running_median_keeps_its_memory():
    running = RunningMedian(most=100)
    tracemalloc.start()
    for value in range(1000):
        running.add(float(value))
    before = tracemalloc.get_traced_memory()[0]
    for value in range(20_000):
        running.add(float(value))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 5000
