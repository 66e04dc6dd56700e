"""The quality focal loss where nearly every target is 0: all points as background, corrected at the positives.

`losses.quality_focal_loss` is the definition. Here its sum over the classes is computed in few passes over the logits,
with the gradient written out.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def background_qfl(logits: Tensor, beta: float) -> Tensor:
    """(B, N, C) -> (B, N): QFL with target 0, summed over the classes; no gradient."""
    with torch.no_grad():
        logits = logits.to(_working_type(logits))
        return _background(logits.sigmoid(), F.softplus(logits), beta)


def sparse_qfl(logits: Tensor, index: Tensor, quality: Tensor, positive: Tensor, beta: float) -> Tensor:
    """(B, N, C) -> (B, N): QFL summed over the classes, target `quality` at the positive pairs and 0 elsewhere.

    index (P,) into the flat B * N * C; quality (P,) 0 to 1; positive (P,) bool, true once an index at most: the other
    pairs count for nothing. Gradient in logits only.
    """
    total: Tensor = _SparseQfl.apply(logits, index, quality, positive, beta)  # type: ignore[no-untyped-call]
    return total


class _SparseQfl(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor, quality: Tensor, positive: Tensor, beta: float) -> Tensor:
        working = logits.to(_working_type(logits))
        sigma, entropy = working.sigmoid(), F.softplus(working)  # entropy: BCE with target 0
        points = _background(sigma, entropy, beta)

        z, s, zero_entropy = working.flatten()[index], sigma.flatten()[index], entropy.flatten()[index]
        quality = quality.to(z.dtype)
        pair_entropy = zero_entropy - quality * z
        away = (quality - s).abs()
        correction = away.pow(beta) * pair_entropy - s.pow(beta) * zero_entropy
        correction = torch.where(positive, correction, 0)
        points = points.flatten().index_add(0, index // logits.shape[2], correction).view(points.shape)

        slope = away.pow(beta) * (s - quality)
        if beta:
            slope = slope + beta * away.pow(beta - 1) * (s - quality).sign() * s * (1 - s) * pair_entropy
        slope = slope - s.pow(beta) * (s + beta * (1 - s) * zero_entropy)
        ctx.save_for_backward(sigma, entropy, index, torch.where(positive, slope, 0))
        ctx.beta, ctx.dtype = beta, logits.dtype
        return points

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        sigma, entropy, index, slope = ctx.saved_tensors
        one = torch.ones((), dtype=sigma.dtype, device=sigma.device)
        # d/dz sigma^beta softplus = sigma^beta (sigma + beta (1 - sigma) softplus)
        dense = torch.lerp(entropy * ctx.beta, one, sigma)
        dense *= _power(sigma, ctx.beta)
        dense *= grad[..., None]
        pairs = slope * grad.flatten()[index // sigma.shape[2]]
        dense.view(-1).index_add_(0, index, pairs)
        return dense.to(ctx.dtype), None, None, None, None


def _background(sigma: Tensor, entropy: Tensor, beta: float) -> Tensor:
    return _power(sigma, beta).mul_(entropy).sum(dim=-1)


def _power(sigma: Tensor, beta: float) -> Tensor:
    return sigma * sigma if beta == 2 else sigma.pow(beta)


def _working_type(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)
