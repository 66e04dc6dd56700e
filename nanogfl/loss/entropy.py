"""What the classification losses share: cross entropy of a logit, and how far its probability is from the target."""

import torch
from torch import Tensor
from torch.nn import functional as F


def working_type(logits: Tensor) -> torch.dtype:
    """What the losses compute in: float32 for half precision and float32, float64 for float64."""
    return torch.promote_types(logits.dtype, torch.float32)


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """logits, target (0 to 1), one shape -> -(1 - y) log(1 - sigma) - y log sigma of that shape."""
    logits, target = logits.to(working_type(logits)), target.to(working_type(logits))
    # not torch's own, which subtracts z from z + log(1 + e^-z): nothing is left of what a sure answer costs
    return -(target * F.logsigmoid(logits) + (1 - target) * F.logsigmoid(-logits))


def target_distance(logits: Tensor, target: Tensor) -> Tensor:
    """logits, target (0 to 1), one shape -> |y - sigma| of that shape, above 0 so that any power has a gradient."""
    logits, target = logits.to(working_type(logits)), target.to(working_type(logits))
    # y - sigma = y (1 - sigma) - (1 - y) sigma, of which 1 - sigma = sigmoid(-z) is no difference of near numbers:
    # at z = 50 and y = 1 the distance is 2e-22, and its square root has a slope.
    away = target * (-logits).sigmoid() - (1 - target) * logits.sigmoid()
    return away.abs().clamp(min=torch.finfo(logits.dtype).tiny)
