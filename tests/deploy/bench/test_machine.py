"""The machine that a bench names, and the load of other processes, from made-up systems and from this one."""

import platform

import pytest

from nanogfl_deploy.bench import machine as module
from nanogfl_deploy.bench.machine import OtherLoad, cpu_name, instruction_sets, machine

X86 = """processor\t: 0
model name\t: Some Processor 9000
flags\t\t: fpu avx2 sse4_2 avx512_vnni fma amx_int8
processor\t: 1
model name\t: Some Processor 9000
flags\t\t: fpu avx2
"""
ARM = """processor\t: 0
Features\t: fp asimd i8mm asimddp sve
CPU part\t: 0xd0b

Model\t\t: Some Board 5
"""


@pytest.mark.parametrize(
    ("text", "name", "sets"),
    [
        (X86, "Some Processor 9000", ["sse4_2", "fma", "avx2", "avx512_vnni", "amx_int8"]),
        (ARM, "Some Board 5", ["asimd", "asimddp", "i8mm", "sve"]),
    ],
)
def test_the_processor_is_read_as_linux_tells_it(monkeypatch, text, name, sets):
    monkeypatch.setattr(module, "_cpuinfo", text.splitlines)
    assert (cpu_name(), instruction_sets()) == (name, sets)


def test_where_linux_does_not_tell_the_platform_does(monkeypatch):
    monkeypatch.setattr(module, "_cpuinfo", lambda: [])
    assert cpu_name() in (platform.processor(), platform.machine())
    assert instruction_sets() == [platform.machine()]


def test_the_machine_is_named():
    about = machine()
    assert about["cpu"]
    assert about["cores"] >= 1
    assert about["instruction_sets"]
    assert about["onnxruntime"].count(".") == 2


def test_others_are_what_was_busy_without_us(monkeypatch):
    """In 10 seconds the cores were busy for 17 s, 8 of them with us: others used .9 of a core."""
    clock, busy, own = iter([100.0, 110.0]), iter([1000.0, 1017.0]), iter([3.0, 11.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(module.time, "process_time", lambda: next(own))
    monkeypatch.setattr(module, "_busy_seconds", lambda: next(busy))
    assert OtherLoad().cores() == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("first_line", "ticks"), [("cpu  5 1 4 900 80 2 3 7 60 0", 5 + 1 + 4 + 2 + 3 + 7), ("cpu 9 0 1 8 7", 10)]
)
def test_idle_and_waiting_for_the_disk_are_not_busy_and_stolen_time_is(monkeypatch, first_line, ticks):
    monkeypatch.setattr(module.Path, "read_text", lambda self, encoding: first_line + "\ncpu0 1 2 3\n")
    monkeypatch.setattr(module.os, "sysconf", lambda name: 100)
    assert module._busy_seconds() == pytest.approx(ticks / 100)


def test_a_system_that_does_not_say_is_not_guessed(monkeypatch):
    def missing(self, encoding):
        raise FileNotFoundError

    monkeypatch.setattr(module.Path, "read_text", missing)
    assert OtherLoad().cores() is None
