"""The conditions of a measurement: processor, instruction sets, system, versions, and the load of other processes."""

import os
import platform
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nanogfl.machine.ort import onnxruntime

# Instruction sets that matrix kernels choose between, as Linux names them: x86, then ARM.
_MATTERS = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"),
    *("avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "sme"),
)
_IDLE, _IOWAIT = 3, 4  # fields of /proc/stat: user nice system idle iowait irq softirq steal
_COUNTED = 8  # the guests' time behind them is part of user's


def machine() -> dict[str, Any]:
    """The facts as plain values for JSON."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "instruction_sets": instruction_sets(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }


def cpu_name() -> str:
    """The processor as the system names it."""
    for line in _cpuinfo():
        if line.startswith(("model name", "Model")):  # x86; a Raspberry Pi names its board
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """The processor's sets that matrix kernels choose between; the machine's name where the system lists none."""
    for line in _cpuinfo():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86; ARM
            flags = set(value.split())
            return [flag for flag in _MATTERS if flag in flags]
    return [platform.machine()]


class OtherLoad:
    """How busy other processes keep the machine: create it, do the work, then call `cores()`."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._busy = _busy_seconds()
        self._own = time.process_time()

    def cores(self) -> float | None:
        """The mean number of cores that other processes used since; None where the system does not say.

        Time that a virtual machine was not given (steal) counts as used by others.
        """
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return None
        others = busy - self._busy - (time.process_time() - self._own)
        return max(0.0, others / max(time.perf_counter() - self._start, 1e-9))


def _busy_seconds() -> float | None:
    """Seconds of all cores together since the machine started."""
    try:
        name, *fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
    except (OSError, ValueError):
        return None
    ticks = [int(field) for field in fields[:_COUNTED]]
    if name != "cpu" or len(ticks) <= _IOWAIT:
        return None
    return (sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]) / os.sysconf("SC_CLK_TCK")


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []  # not Linux
