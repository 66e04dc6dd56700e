"""Which device trains, and in which precision."""

from contextlib import AbstractContextManager

import torch

from nanogfl.contract.errors import UserError


def choose_device(name: str) -> torch.device:
    """auto: cuda where there is one, else mps, else cpu. Raises UserError for a device that this machine lacks."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"train.device must be auto, cpu, cuda, cuda:N or mps, got '{name}'") from None
    available = {
        "cpu": True,
        "mps": torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
    }
    if not available.get(device.type, False):
        raise UserError(f"this machine (or this build of torch) has no device '{name}': use train.device=auto")
    return device


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The forward pass's precision. The loss is computed in fp32 outside of it."""
    half = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    context: AbstractContextManager[None] = torch.autocast(device.type, torch.bfloat16, enabled=half)
    return context
