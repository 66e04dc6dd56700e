"""The timing loop under a clock that the test turns."""

import pytest

from nanogfl.contract.timing import measure


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


def test_calls_take_turns():
    order = []
    measure({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, warmup=1)
    assert order == ["a", "b"] * 3


def test_a_call_is_charged_for_its_own_time_only():
    clock = Clock()
    timings = measure({"a": lambda: clock.spend(3), "b": lambda: clock.spend(7)}, rounds=3, warmup=0, clock=clock)
    assert (timings["a"].p50, timings["b"].p50) == (3.0, 7.0)


def test_no_rounds_is_refused():
    with pytest.raises(ValueError, match="at least 1 round"):
        measure({}, rounds=0)
