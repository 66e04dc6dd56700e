"""Statistics of the equalized losses: how strongly each class was pulled up and pushed down. arXiv:2201.02593."""

from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.config import LossConfig
from nanogfl.loss.normalisers import mean_over_ranks

_LEAST = 1e-10


class Focus(NamedTuple):
    """Exponent and weight of each class, without gradients."""

    gamma: Tensor
    """(C,) float32 gamma_j, gamma_b to gamma_b + s"""
    weight: Tensor
    """(C,) float32 w_j = gamma_j / gamma_b"""


class Equalizer:
    """Accumulates P_j and N_j: |dL/dz| summed over the run at the positives and at the negatives of each class j.

    L is the classification loss divided by the number of positives, before its weight in the total, times the batch's
    share of the update. |dL/dz| is computed from its formula in float32 instead of being read in the backward pass, so
    that it depends neither on the precision nor on a loss scale, and compiled code needs no hook. Several processes
    accumulate their mean, the slope of their joint batch, whatever their number is. A step counts once it has changed
    the weights: gamma_j is the same for all batches of an update.
    """

    def __init__(self, config: LossConfig, class_count: int, device: torch.device) -> None:
        self._base, self._scale = config.gamma, config.efl_scale
        # float64, because a run adds millions of small numbers to a large one; mps does not have it
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.totals = torch.zeros(2, class_count, dtype=dtype, device=device)
        """(2, C) P and N of all steps, the same in every process"""
        self._update = torch.zeros_like(self.totals)  # of this update and process so far
        self._batch = torch.zeros_like(self.totals)  # of the last batch

    def ratio(self) -> Tensor:
        """(C,) g_j = P_j / N_j, at most 1: low for a class that mostly sees negatives. 1 before the first step."""
        positive, negative = self.totals
        return torch.where(negative == 0, 1.0, (positive / (negative + _LEAST)).clamp(0, 1))

    def focus(self) -> Focus:
        """Exponent and weight (C,) of each class from the statistics so far."""
        gamma = self._base + self._scale * (1 - self.ratio())
        return Focus(gamma.float(), (gamma / self._base).float())

    @torch.no_grad()
    def observe(self, slope: Tensor, target: Tensor) -> None:
        """Records |dL/dz| (B, N, C) by target (B, N, C), positive where above 0. The last call before `add` counts."""
        at_positives = torch.where(target > 0, slope, 0).sum(dim=(0, 1))
        at_negatives = torch.where(target > 0, 0, slope).sum(dim=(0, 1))
        self._batch.copy_(torch.stack((at_positives, at_negatives)))

    def add(self, share: float) -> None:
        """Adds `share` of the batch that was observed last to the update."""
        self._update += share * self._batch

    def update(self, stopped: Tensor) -> None:
        """Adds the update, averaged over all processes, to the run; nothing where the scalar `stopped` is above 0."""
        self.totals += mean_over_ranks(torch.where(stopped > 0, 0, self._update))
        self._update.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        """P and N (C,) for a checkpoint, after `update`."""
        return {"positive": self.totals[0].clone(), "negative": self.totals[1].clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` gave."""
        self.totals.copy_(torch.stack((state["positive"], state["negative"])))
