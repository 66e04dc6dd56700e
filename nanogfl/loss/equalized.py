"""What the equalized losses know of a run: how hard each class was pulled up and pushed down. arXiv:2201.02593."""

from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.config import LossConfig
from nanogfl.loss.normalisers import mean_over_ranks

_LEAST = 1e-10


class Focus(NamedTuple):
    """Of every class; no gradient goes through it."""

    gamma: Tensor
    """(C,) float32 gamma_j, gamma_b to gamma_b + s"""
    weight: Tensor
    """(C,) float32 w_j = gamma_j / gamma_b"""


class Equalizer:
    """P_j and N_j: sums over the whole run of |dL/dz| at the positives and at the negatives of each class.

    L is the sum of the classification loss over all levels / number of positives, as it stands in the total before its
    weight, times the batch's share of the update: what moves the logits, but for one factor of the whole run, which
    leaves the ratio as it is. The size of the slope is computed from its formula in float32, not read from the
    backward pass: it is the same in any precision, knows no loss scale, and compiled code has no hook to carry.
    Of several processes the account holds the mean, which is the slope of their joint batch: it does not depend on
    their number. A step counts once it has changed the weights: gamma_j is the same for all batches of an update.
    """

    def __init__(self, config: LossConfig, class_count: int, device: torch.device) -> None:
        self._base, self._scale = config.gamma, config.efl_scale
        # float64, for a run adds millions of small numbers to a large one; mps has none
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.totals = torch.zeros(2, class_count, dtype=dtype, device=device)
        """P and N of all steps, the same in every process"""
        self._update = torch.zeros_like(self.totals)  # of this update's batches so far, of this process
        self._batch = torch.zeros_like(self.totals)  # of the last batch

    def ratio(self) -> Tensor:
        """(C,) g_j = P_j / N_j, at most 1: how well a class holds out against the others. 1 before the first step."""
        positive, negative = self.totals
        return torch.where(negative == 0, 1.0, (positive / (negative + _LEAST)).clamp(0, 1))

    def focus(self) -> Focus:
        gamma = self._base + self._scale * (1 - self.ratio())
        return Focus(gamma.float(), (gamma / self._base).float())

    @torch.no_grad()
    def observe(self, slope: Tensor, target: Tensor) -> None:
        """slope (B, N, C) |dL/dz|, target (B, N, C), positive where above 0. Only the last call before `add` counts."""
        at_positives = torch.where(target > 0, slope, 0).sum(dim=(0, 1))
        at_negatives = torch.where(target > 0, 0, slope).sum(dim=(0, 1))
        self._batch.copy_(torch.stack((at_positives, at_negatives)))

    def add(self, share: float) -> None:
        """Takes `share` of the batch that was observed last into the update."""
        self._update += share * self._batch

    def update(self, stopped: Tensor) -> None:
        """Adds the update's sums, their mean over all processes, to the run's; nothing where stopped () is above 0."""
        self.totals += mean_over_ranks(torch.where(stopped > 0, 0, self._update))
        self._update.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        """For a checkpoint, after `update`."""
        return {"positive": self.totals[0].clone(), "negative": self.totals[1].clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.totals.copy_(torch.stack((state["positive"], state["negative"])))
