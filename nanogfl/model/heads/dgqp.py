"""The distribution-guided quality predictor of GFL V2, arXiv:2011.12885."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanogfl.config import HeadConfig
from nanogfl.model.boxes.decode import bin_probabilities


class Dgqp(nn.Module):
    """Predicts the quality I of a box from the shape of its distributions: sharp ones mean a good box.

    The k most probable bins of each side and their mean, of all four sides together, go through two 1x1 convolutions,
    which are the same for all levels. The score of a point is J = sigma I.
    """

    def __init__(self, top: int, hidden: int) -> None:
        super().__init__()
        self.top = top
        self.hidden = nn.Conv2d(4 * (top + 1), hidden, 1)
        self.output = nn.Conv2d(hidden, 1, 1)
        for layer in (self.hidden, self.output):
            assert layer.bias is not None
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, dist_logits: Tensor) -> Tensor:
        """(B, N, 4, R + 1) -> (B, N), the logits of I."""
        largest = largest_values(bin_probabilities(dist_logits), self.top)
        mean = torch.matmul(largest, largest.new_full((self.top, 1), 1 / self.top))
        statistics = torch.cat((largest, mean), dim=-1).flatten(2).transpose(1, 2)  # (B, 4 (k + 1), N)
        count = dist_logits.shape[1]
        logits: Tensor = self.output(F.relu(self.hidden(statistics.reshape(-1, 4 * (self.top + 1), count, 1))))
        return logits.reshape(-1, count)


def largest_values(values: Tensor, count: int) -> Tensor:
    """(..., n) -> (..., count), the largest values in descending order, with their gradients.

    Uses elementwise maxima and minima, a bubble sort that stops early: an exported `raw` file may hold no TopK (and no
    sum over an axis, which is why `Dgqp` takes the mean by a matrix product).
    """
    rest, largest = list(torch.split(values, 1, dim=-1)), []
    for _ in range(count):
        best, smaller = rest[0], []
        for value in rest[1:]:
            smaller.append(torch.minimum(best, value))
            best = torch.maximum(best, value)
        largest.append(best)
        rest = smaller
    return torch.cat(largest, dim=-1)


def joint_logits(cls_logits: Tensor, quality_logits: Tensor) -> Tensor:
    """(..., C), (...) -> (..., C): the logits of J = sigma(cls) sigma(quality), exact where J rounds to 0 or 1."""
    z, q = cls_logits.float(), quality_logits.float().unsqueeze(-1)
    # 1 / J - 1 = e^-z + e^-q + e^-(z + q) = e^-z + e^-q (1 + e^-z)
    return -torch.logaddexp(-z, F.softplus(-z) - q)


def build_dgqp(config: HeadConfig) -> Dgqp | None:
    """None where the head has no such predictor."""
    return Dgqp(config.dgqp_top, config.dgqp_hidden) if config.dgqp else None
