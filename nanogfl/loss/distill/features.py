"""Distillation of features: the neck's levels are drawn towards the teacher's."""

import torch
from torch import Tensor

from nanogfl.loss.normalisers import mean_over_ranks

_LEAST_VARIANCE = 1e-6


def standardised(levels: list[Tensor]) -> list[Tensor]:
    """The teacher's levels (B, channels, h, w) -> float32 of the same shapes: each channel of each level has mean 0 and
    variance 1 over the batch of all processes. A constant channel becomes 0."""
    levels = [level.float() for level in levels]
    means = _over_batch(levels)
    levels = [level - mean for level, mean in zip(levels, means, strict=True)]
    variances = _over_batch([level.square() for level in levels])
    return [level * (variance + _LEAST_VARIANCE).rsqrt() for level, variance in zip(levels, variances, strict=True)]


def _over_batch(levels: list[Tensor]) -> list[Tensor]:
    """(B, channels, h, w) -> means (channels, 1, 1), of all levels in one all-reduce."""
    means = [level.mean(dim=(0, 2, 3)) for level in levels]
    together = mean_over_ranks(torch.cat(means))
    return [part[:, None, None] for part in torch.split(together, [len(mean) for mean in means])]


def feature_error(adapted: list[Tensor], targets: list[Tensor]) -> Tensor:
    """The student's levels in the teacher's channels and the teacher's standardised ones, (B, channels, h, w) -> ():
    the mean squared error of a level, averaged over the levels. 1 is what a student gets that always says 0."""
    errors = [(own.float() - target).square().mean() for own, target in zip(adapted, targets, strict=True)]
    return torch.stack(errors).mean()
