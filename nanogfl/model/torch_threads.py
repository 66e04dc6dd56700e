"""torch's threads on a machine of which this process may use a part only."""

import os

import torch

from nanogfl.machine.threads import compute_threads


def limit_torch_threads() -> None:
    """torch counts the allowed processors, but knows no cgroup's quota. OMP_NUM_THREADS, which torchrun sets as well,
    stays as it is."""
    most = compute_threads()
    if most and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), most))
