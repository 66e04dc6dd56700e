"""What sums of losses are divided by: numbers of the whole batch, of which every process of a run has a part."""

import torch
from torch import Tensor


def mean_over_ranks(values: Tensor) -> Tensor:
    """This process's `values` -> their mean over all processes, by one all-reduce; themselves where there is one.

    With losses divided by such means, the mean of the processes' gradients is the gradient of their joint batch. Every
    process must call this as often as the others, whatever its data are. Nothing is differentiated through it.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    total = values.detach().clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()
