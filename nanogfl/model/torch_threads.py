"""torch's threads where this process may use only a part of the machine."""

import os

import torch

from nanogfl.machine.threads import compute_threads


def limit_torch_threads() -> None:
    """Keeps torch within the CPU quota of the cgroup, which it does not read itself. Does nothing where OMP_NUM_THREADS
    is set, as torchrun does."""
    most = compute_threads()
    if most and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), most))
