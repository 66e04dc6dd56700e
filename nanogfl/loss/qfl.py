"""The quality focal loss where nearly every target is 0: all points as background, corrected at the positives.

`losses.quality_focal_loss` is the definition. Here its sum over the classes is computed in few passes over the logits,
with the gradient written out.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from nanogfl.loss.losses import working_type


def background_qfl(logits: Tensor, beta: float) -> Tensor:
    """(B, N, C) -> (B, N): QFL with target 0, summed over the classes; no gradient."""
    with torch.no_grad():
        logits = logits.to(working_type(logits))
        return logits.sigmoid().pow_(beta).mul_(F.softplus(logits)).sum(dim=-1)


def sparse_qfl(
    logits: Tensor, image: Tensor, point: Tensor, label: Tensor, quality: Tensor, positive: Tensor, beta: float
) -> Tensor:
    """(B, N, C) -> (B, N): QFL summed over the classes, target `quality` at the positive pairs and 0 elsewhere.

    Of P pairs: image, point, label (P,) index the logits; quality (P,) 0 to 1; positive (P,) bool, true once a place at
    most: the other pairs count for nothing. Gradient in logits only.
    """
    pairs = (image, point, label, quality, positive)
    total: Tensor = _SparseQfl.apply(logits, *pairs, beta)  # type: ignore[no-untyped-call]
    return total


class _SparseQfl(torch.autograd.Function):
    """Fresh memory of B x N x C costs more than the arithmetic in it: what is no longer needed is written over."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        image: Tensor,
        point: Tensor,
        label: Tensor,
        quality: Tensor,
        positive: Tensor,
        beta: float,
    ) -> Tensor:
        working = logits.to(working_type(logits))
        sigma, entropy = working.sigmoid(), F.softplus(working)  # entropy: BCE with target 0
        z, s, zero_entropy = (x[image, point, label] for x in (working, sigma, entropy))
        power = sigma.pow(beta)
        loss = entropy.mul_(power)
        points = loss.sum(dim=-1)

        quality = quality.to(z.dtype)
        away = (quality - s).abs().clamp(min=torch.finfo(s.dtype).tiny)  # any power of it has a slope
        modulation, zero_modulation = away.pow(beta), s.pow(beta)
        pair_entropy = zero_entropy - quality * z
        correction = modulation * pair_entropy - zero_modulation * zero_entropy
        points.index_put_((image, point), torch.where(positive, correction, 0), accumulate=True)

        if ctx.needs_input_grad[0]:
            # d/dz sigma^beta softplus = sigma^beta (sigma + beta (1 - sigma) softplus)
            dense = power.mul_(sigma).sub_(sigma.sub_(1).mul_(loss), alpha=beta)
            slope = modulation * (s - quality)
            if beta:
                slope = slope + beta * away.pow(beta - 1) * (s - quality).sign() * s * (1 - s) * pair_entropy
            slope = slope - zero_modulation * (s + beta * (1 - s) * zero_entropy)
            ctx.save_for_backward(dense, image, point, label, torch.where(positive, slope, 0))
            ctx.dtype = logits.dtype
        return points

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None, None]:
        dense, image, point, label, slope = ctx.saved_tensors
        full = dense * grad[..., None]
        full.index_put_((image, point, label), slope * grad[image, point], accumulate=True)
        return full.to(ctx.dtype), None, None, None, None, None, None
