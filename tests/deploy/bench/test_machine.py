"""What a figure must be read with, from made-up systems and from this one."""

import platform

import pytest

from nanogfl_deploy.bench import machine as module
from nanogfl_deploy.bench.machine import cpu_name, instruction_sets, machine

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
