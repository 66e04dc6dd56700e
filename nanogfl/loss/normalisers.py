"""Means over the processes of a run, by which sums of losses are divided."""

import torch
from torch import Tensor


def mean_over_ranks(values: Tensor) -> Tensor:
    """Values of any shape in this process -> their mean over all processes, by one all-reduce, without a gradient.

    If losses are divided by such means, the mean of the processes' gradients is the gradient of their joint batch.
    Every process must call this equally often, whatever its data are.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    total = values.detach().clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()
