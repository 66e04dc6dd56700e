"""What a figure must be read with: the processor, its instruction sets, the system, the versions."""

import os
import platform
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


def machine() -> dict[str, Any]:
    """The facts, as JSON has them."""
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
    """Those of the processor that matrix kernels choose between; where the system does not list them, its machine."""
    for line in _cpuinfo():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86; ARM
            flags = set(value.split())
            return [flag for flag in _MATTERS if flag in flags]
    return [platform.machine()]


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []  # not Linux
