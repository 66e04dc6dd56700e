"""Localization distillation (arXiv:2102.12252): a side's distribution is drawn towards the teacher's."""

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogfl.config import HeadConfig
from nanogfl.loss.losses import working_type


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
    return (1 - (places[..., None] - bins).abs()).clamp(min=0).float()


def side_targets(dist_logits: Tensor, projection: Tensor | None, temperature: float) -> Tensor:
    """The teacher's logits (B, M, 4, R_t + 1) -> log probabilities (B, M, 4, R_s + 1) on the student's bins, at the
    temperature."""
    logits = dist_logits.to(working_type(dist_logits))
    if projection is not None:
        # Projected as they are and then made softer: the student's own distribution has the teacher's expectation.
        shares = torch.einsum("bmkr,krs->bmks", logits.softmax(dim=-1), projection.to(logits.dtype))
        logits = shares.clamp(min=torch.finfo(torch.float32).tiny).log()
    return (logits / temperature).log_softmax(dim=-1)


def side_divergence(dist_logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """The student's logits and log probabilities of `side_targets`, both (..., R + 1) -> (...): T^2 KL(target ||
    student at temperature T), 0 where they agree."""
    student = (dist_logits.to(working_type(dist_logits)) / temperature).log_softmax(dim=-1)
    return temperature**2 * F.kl_div(student, targets, reduction="none", log_target=True).sum(dim=-1)
