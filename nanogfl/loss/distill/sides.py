"""Localization distillation (arXiv:2102.12252): a side's distribution is drawn towards the teacher's."""

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogfl.config import HeadConfig
from nanogfl.loss.losses import working_type

_LEAST_SHARE = 1e-6  # less is the rounding of a place that lies on a bin
_NEVER = -1e5
"""a logit whose probability is 0 at any temperature"""


def bin_projection(teacher: HeadConfig, student: HeadConfig) -> Tensor | None:
    """(4, R_t + 1, R_s + 1): how each bin of the teacher is shared out to the student's, for left, top, right, bottom.
    None where the bins are the same.

    A bin of the teacher lies between two of the student's and is split linearly (the projection of arXiv:1707.06887),
    which keeps the expectation. Bins beyond the student's first or last one count as that one. Where the heads measure
    from other points (point_offset), the distances are moved by the difference.
    """
    moved = student.point_offset - teacher.point_offset
    if (teacher.bins, teacher.bin_width, moved) == (student.bins, student.bin_width, 0):
        return None
    distances = torch.arange(teacher.bins, dtype=torch.float64) * teacher.bin_width
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)  # a point further right is further from the left
    places = ((distances + signs[:, None] * moved) / student.bin_width).clamp(0, student.reg_max)  # (4, R_t + 1)
    bins = torch.arange(student.bins, dtype=torch.float64)
    shares = 1 - (places[..., None] - bins).abs()
    return shares.where(shares > _LEAST_SHARE, 0.0).float()


def side_divergence(dist_logits: Tensor, teacher: Tensor, projection: Tensor | None, temperature: float) -> Tensor:
    """The student's logits (B, M, 4, R_s + 1) and the teacher's (B, M, 4, R_t + 1) -> (B, M, 4): T^2 KL(teacher ||
    student), both distributions at temperature T; 0 where they agree.

    Bins of the student that no bin of the teacher falls to are left out: the teacher cannot say anything about them,
    and both distributions are those over the other bins.
    """
    own = dist_logits.to(working_type(dist_logits))
    with torch.no_grad():
        target = teacher.to(own.dtype)
        if projection is not None:
            # Projected as they are and then softened: a student that agrees has the teacher's expectation.
            projection = projection.to(own.dtype)
            shares = torch.einsum("bmkr,krs->bmks", target.softmax(dim=-1), projection)
            target = shares.clamp(min=torch.finfo(torch.float32).tiny).log()
            target = target.masked_fill(_unreached(projection), _NEVER)
        target = (target / temperature).log_softmax(dim=-1)
    if projection is not None:
        own = own.masked_fill(_unreached(projection), _NEVER)
    own = (own / temperature).log_softmax(dim=-1)
    return temperature**2 * F.kl_div(own, target, reduction="none", log_target=True).sum(dim=-1)


def _unreached(projection: Tensor) -> Tensor:
    """(4, R_t + 1, R_s + 1) -> (4, R_s + 1)."""
    return projection.sum(dim=1) == 0
