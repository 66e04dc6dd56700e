"""The quality focal loss (arXiv:2006.04388) for targets that are nearly all 0, summed over the classes.

`losses.quality_focal_loss` is the definition. Here all points are computed as background and corrected at the
positives, in few passes over the logits and with a gradient of our own.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from nanogfl.loss.losses import working_type


def background_qfl(logits: Tensor, beta: float) -> Tensor:
    """Logits (B, N, C) -> (B, N): QFL with target 0, summed over the classes, without a gradient."""
    with torch.no_grad():
        logits = logits.to(working_type(logits))
        return logits.sigmoid().pow_(beta).mul_(F.softplus(logits)).sum(dim=-1)


def sparse_qfl(
    logits: Tensor, image: Tensor, point: Tensor, label: Tensor, quality: Tensor, positive: Tensor, beta: float
) -> Tensor:
    """Logits (B, N, C) -> (B, N): QFL summed over the classes; the target is `quality` at the positive pairs, else 0.

    For P pairs: image, point and label (P,) index the logits; quality (P,) is 0 to 1; positive (P,) bool is true at
    most once per image and point, and the other pairs count for nothing. Only the logits get a gradient.
    """
    pairs = (image, point, label, quality, positive)
    total: Tensor = _SparseQfl.apply(logits, *pairs, beta)  # type: ignore[no-untyped-call]
    return total


class _SparseQfl(torch.autograd.Function):
    """Overwrites what it no longer needs: allocating B x N x C costs more than computing it."""

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
        sigma, entropy = working.sigmoid(), F.softplus(working)  # BCE with target 0
        z, s, zero_entropy = (x[image, point, label] for x in (working, sigma, entropy))
        power = sigma.pow(beta)
        loss = entropy.mul_(power)
        points = loss.sum(dim=-1)

        quality = quality.to(z.dtype)
        away = (quality - s).abs().clamp(min=torch.finfo(s.dtype).tiny)  # so that any power has a slope
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
