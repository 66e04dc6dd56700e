"""The distribution-guided quality predictor of GFL V2, arXiv:2011.12885."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanogfl.config import HeadConfig
from nanogfl.model.decode import bin_probabilities


class Dgqp(nn.Module):
    """Sharp distributions mean a good box: (B, N, 4, R + 1) -> (B, N), the logit of the predicted quality I.

    Of each side the k most probable bins and their mean, of all four sides together, through two layers. Every point
    has the same ones, so that they are products of matrices over all levels at once. A point's score is J = sigma I.
    """

    def __init__(self, top: int, hidden: int) -> None:
        super().__init__()
        self.top = top
        self.hidden = nn.Linear(4 * (top + 1), hidden)
        self.output = nn.Linear(hidden, 1)
        for layer in (self.hidden, self.output):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, dist_logits: Tensor) -> Tensor:
        largest = largest_values(bin_probabilities(dist_logits), self.top)
        statistics = torch.cat((largest, largest.mean(dim=-1, keepdim=True)), dim=-1)
        logits: Tensor = self.output(F.relu(self.hidden(statistics.flatten(2))))
        return logits.squeeze(-1)


def largest_values(values: Tensor, count: int) -> Tensor:
    """(..., n) -> (..., count), largest first; the gradient goes where they come from.

    By elementwise maxima and minima, as in a bubble sort that ends early: a `raw` file may hold no TopK.
    """
    rest, largest = list(values.unbind(dim=-1)), []
    for _ in range(count):
        best, smaller = rest[0], []
        for value in rest[1:]:
            smaller.append(torch.minimum(best, value))
            best = torch.maximum(best, value)
        largest.append(best)
        rest = smaller
    return torch.stack(largest, dim=-1)


def joint_logits(cls_logits: Tensor, quality_logits: Tensor) -> Tensor:
    """(..., C) and (...) -> (..., C): the logit of J = sigma(cls) sigma(quality), exact where J rounds to 0 or 1."""
    z, q = cls_logits.float(), quality_logits.float().unsqueeze(-1)
    # 1 / J - 1 = e^-z + e^-q + e^-(z + q) = e^-z + e^-q (1 + e^-z)
    return -torch.logaddexp(-z, F.softplus(-z) - q)


def build_dgqp(config: HeadConfig) -> Dgqp | None:
    return Dgqp(config.dgqp_top, config.dgqp_hidden) if config.dgqp else None
