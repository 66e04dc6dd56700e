"""The device that trains: its choice, its precision, and on a CPU the memory that it keeps."""

import ctypes
import os
import platform
import shutil
from contextlib import AbstractContextManager
from typing import Literal

import torch

from nanogfl.errors import UserError

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# malloc.h of glibc
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER, _PAD_BYTES = -1, 256 << 20
_WHERE = "(train.device, or --device of a command)"


def choose_device(name: str) -> torch.device:
    """auto: cuda where there is one, else mps, else cpu. Raises UserError for a device that this machine lacks."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"there is no device '{name}': auto, cpu, cuda, cuda:N or mps {_WHERE}") from None
    available = {
        "cpu": True,
        "mps": torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
    }
    if not available.get(device.type, False):
        raise UserError(f"this machine (or this build of torch) has no device '{name}': use auto or cpu {_WHERE}")
    return device


def choose_precision(device: torch.device, wanted: str) -> Precision:
    """auto: bf16 where the device computes in it, fp16 on older GPUs, fp32 elsewhere.

    Raises UserError for fp16 without a GPU.
    """
    if wanted == "auto":
        if device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        return "bf16" if device.type == "cpu" and _cpu_computes_in_bf16() else "fp32"
    if wanted == "fp16" and device.type != "cuda":
        raise UserError(f"train.precision=fp16 is for GPUs, the device is {device.type}: use bf16, fp32 or auto")
    assert wanted in ("fp32", "bf16", "fp16")
    return wanted  # type: ignore[return-value]


def require_compiler(device: torch.device, wanted: bool | str) -> None:
    """Raises UserError where train.compile cannot work, before the images are read."""
    if wanted == "cuda_graphs" and device.type != "cuda":
        raise UserError(f"train.compile=cuda_graphs needs a CUDA GPU, the device is {device.type}: use true or false")
    if wanted and device.type == "cpu":
        named = os.environ.get("CXX")
        compilers = [named] if named else ["g++", "clang++", "cl"]
        if not any(shutil.which(compiler) for compiler in compilers):
            raise UserError(
                f"train.compile needs a C++ compiler on a CPU, and there is no {' or '.join(compilers)}: install one"
                " (on Debian: apt-get install g++), or set train.compile=false"
            )


def _cpu_computes_in_bf16() -> bool:
    """Whether the processor multiplies bf16 natively. Emulation would be slower than fp32."""
    ask = getattr(torch.cpu, "get_capabilities", dict)  # older torch cannot say: fp32
    abilities: dict[str, bool] = ask()
    return any(abilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # the last: ARM's


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """A context for the forward pass in that precision. The loss is computed in fp32, outside of it."""
    context: AbstractContextManager[None] = torch.autocast(
        device.type, _DTYPES[precision] if precision != "fp32" else torch.bfloat16, enabled=precision != "fp32"
    )
    return context


def keep_freed_memory() -> bool:
    """Makes glibc keep the memory that a training step on a CPU frees; False, and no change, on other systems.

    Otherwise glibc returns every large tensor to the system and gets it back zeroed page by page: 300,000 page faults
    per step of 32 pictures at 320 x 320, a third of its time in fp32 (docs/results.md).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _PAD_BYTES))
    return all(mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings)
