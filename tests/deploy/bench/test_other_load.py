"""Whose work kept the machine busy, from a made-up /proc/stat."""

import pytest

from nanogfl_deploy.bench import other_load
from nanogfl_deploy.bench.other_load import OtherLoad


def test_others_are_what_was_busy_without_us(monkeypatch):
    """In 10 seconds the cores were busy for 17 s, 8 of them with us: others kept .9 of a core."""
    clock, busy, own = iter([100.0, 110.0]), iter([1000.0, 1017.0]), iter([3.0, 11.0])
    monkeypatch.setattr(other_load.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(other_load.time, "process_time", lambda: next(own))
    monkeypatch.setattr(other_load, "_busy_seconds", lambda: next(busy))
    assert OtherLoad().cores() == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("first_line", "ticks"), [("cpu  5 1 4 900 80 2 3 7 60 0", 5 + 1 + 4 + 2 + 3 + 7), ("cpu 9 0 1 8 7", 10)]
)
def test_idle_and_waiting_for_the_disk_are_not_busy_and_stolen_time_is(monkeypatch, first_line, ticks):
    monkeypatch.setattr(other_load.Path, "read_text", lambda self, encoding: first_line + "\ncpu0 1 2 3\n")
    monkeypatch.setattr(other_load.os, "sysconf", lambda name: 100)
    assert other_load._busy_seconds() == pytest.approx(ticks / 100)


def test_a_system_that_does_not_say_is_not_guessed(monkeypatch):
    def missing(self, encoding):
        raise FileNotFoundError

    monkeypatch.setattr(other_load.Path, "read_text", missing)
    assert OtherLoad().cores() is None
