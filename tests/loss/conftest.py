"""The assigners as the papers tell them: one object, one level, one point at a time, in float64."""

import math
from collections.abc import Callable

import pytest
import torch

from nanogfl.config import LossConfig
from nanogfl.data.truth import Truth
from nanogfl.model.boxes.decode import Grid
from nanogfl.model.detector import Predictions


@pytest.fixture(autouse=True)
def _one_thread_and_one_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def slow_atss(
    grid: Grid, truth: Truth, batch_size: int, candidates: int, anchor: float
) -> tuple[list[list[int]], float]:
    """Truth index or -1 for each image and point, and how near the closest candidate came to its threshold."""
    points, strides = grid.points.tolist(), grid.strides.tolist()
    owner = [[-1] * len(points) for _ in range(batch_size)]
    overlap = [[0.0] * len(points) for _ in range(batch_size)]
    margin = math.inf
    for index, (box, image) in enumerate(zip(truth.boxes.tolist(), truth.image.tolist(), strict=True)):
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        chosen, start = [], 0
        for size in grid.level_sizes:
            level = range(start, start + size)
            level = sorted(level, key=lambda p: ((points[p][0] - centre[0]) ** 2 + (points[p][1] - centre[1]) ** 2, p))
            chosen += level[:candidates]
            start += size
        values = []
        for p in chosen:
            (x, y), reach = points[p], strides[p] * anchor / 2
            values.append(iou([x - reach, y - reach, x + reach, y + reach], box))
        mean = sum(values) / len(values)
        threshold = mean + math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
        for p, value in zip(chosen, values, strict=True):
            x, y = points[p]
            if not (box[0] < x < box[2] and box[1] < y < box[3]):
                continue
            margin = min(margin, abs(value - threshold))
            if value >= threshold and value > overlap[image][p]:
                owner[image][p], overlap[image][p] = index, value
    return owner, margin


@pytest.fixture(scope="session")
def brute_force_atss() -> Callable[..., tuple[list[list[int]], float]]:
    return slow_atss


class SlowAssigner:
    """DSLA or TAL as their authors tell it, one object and one point at a time, in float64.

    `owner` and `quality` map (image, point) to the object and what its class learns; `margin` is how near two numbers
    that decide something came to each other without being equal (to 12 digits, which float64 is good for).
    """

    def __init__(self, predictions: Predictions, grid: Grid, truth: Truth, config: LossConfig) -> None:
        self.grid, self.truth, self.config = grid, truth, config
        self.logits = predictions.cls_logits.detach().double().tolist()
        bins = torch.arange(predictions.box_pred.shape[-1], dtype=torch.float64)
        sides = (predictions.box_pred.detach().double().softmax(-1) * bins).sum(-1) * grid.strides[:, None]
        points = grid.points.double()
        self.boxes = torch.cat((points - sides[..., :2], points + sides[..., 2:]), dim=-1).tolist()
        self.margin = math.inf
        self.owner: dict[tuple[int, int], int] = {}
        self.quality: dict[tuple[int, int], float] = {}
        self.contested = self.tied = 0
        if config.assigner == "dsla":
            for image in range(len(predictions.cls_logits)):
                self._dsla(image)
        else:
            self._tal()

    def _dsla(self, image: int) -> None:
        """As NanoDet-Plus's author does it: a picture's objects, and the points inside any of them."""
        order: dict[int, tuple[float, ...]] = {}
        for g in range(len(self.truth.boxes)):
            box = self.truth.boxes[g].tolist()
            if int(self.truth.image[g]) == image and box[0] < box[2] and box[1] < box[3]:
                order[g] = ((box[2] - box[0]) * (box[3] - box[1]), int(self.truth.labels[g]), *box)
        points = self.grid.points.tolist()
        valid = [
            p
            for p, (x, y) in enumerate(points)
            if any(box[0] < x < box[2] and box[1] < y < box[3] for _, _, *box in order.values())
        ]
        overlap: dict[int, dict[int, float]] = {}
        price: dict[int, dict[int, float]] = {}
        claimed: dict[int, list[int]] = {}
        for g, (_, label, *box) in order.items():
            overlap[g] = {p: round(iou(self.boxes[image][p], box), 12) for p in valid}
            price[g] = {p: self._cost(self.logits[image][p], int(label), overlap[g][p]) for p in valid}
            total = sum(sorted(overlap[g].values(), reverse=True)[: self.config.dsla_candidates])
            if total > 0.5 and abs(total - round(total)) < 1e-4:
                self.margin = 0.0
            for p in self._cheapest(price[g], max(1, math.floor(total))):
                claimed.setdefault(p, []).append(g)
        for p, claimants in claimed.items():
            owner = claimants[0]
            if len(claimants) > 1:
                owner, *others = sorted(order, key=lambda g, p=p: (price[g][p], *order[g]))
                self.contested += 1
                self.tied += price[owner][p] == price[others[0]][p]
                self._near(price[owner][p], price[others[0]][p])
            self.owner[image, p], self.quality[image, p] = owner, overlap[owner][p]

    def _tal(self) -> None:
        best: dict[tuple[int, int], tuple[float, ...]] = {}
        for g in range(len(self.truth.boxes)):
            box, label, image = self.truth.boxes[g].tolist(), int(self.truth.labels[g]), int(self.truth.image[g])
            area = (box[2] - box[0]) * (box[3] - box[1])
            for p, claim, quality in self._candidates(box, label, image):
                place, order = (image, p), (-claim, area, label, *box)
                if place in best:
                    self.contested += 1
                    self.tied += best[place][0] == order[0]
                    self._near(best[place][0], order[0])
                if place not in best or order < best[place]:
                    best[place], self.owner[place], self.quality[place] = order, g, quality

    def _candidates(self, box: list[float], label: int, image: int) -> list[tuple[int, float, float]]:
        inside = [
            p for p, (x, y) in enumerate(self.grid.points.tolist()) if box[0] < x < box[2] and box[1] < y < box[3]
        ]
        overlap = {p: round(iou(self.boxes[image][p], box), 12) for p in inside}
        metric = {
            p: self._sigma(self.logits[image][p][label]) ** self.config.tal_alpha * overlap[p] ** self.config.tal_beta
            for p in inside
        }
        chosen = self._cheapest({p: -t for p, t in metric.items()}, self.config.tal_candidates)
        most = max((metric[p] for p in chosen), default=0.0)
        fit = max((overlap[p] for p in chosen), default=0.0)
        return [(p, overlap[p], metric[p] / most * fit if most else 0.0) for p in chosen]

    def _cost(self, logits: list[float], label: int, overlap: float) -> float:
        cost = 0.0
        for c, z in enumerate(logits):
            y, sigma = (overlap if c == label else 0.0), self._sigma(z)
            cost += -(y * math.log(sigma) + (1 - y) * math.log(1 - sigma)) * abs(y - sigma) ** 2
        return round(cost + self.config.dsla_iou_weight * -math.log(overlap + 1e-7), 12)

    def _cheapest(self, price: dict[int, float], count: int) -> list[int]:
        order = sorted(price, key=lambda p: (price[p], p))
        if len(order) > count:
            self._near(price[order[count - 1]], price[order[count]])
        return order[:count]

    def _near(self, a: float, b: float) -> None:
        if a != b:
            self.margin = min(self.margin, abs(a - b) / max(abs(a), abs(b)))

    @staticmethod
    def _sigma(z: float) -> float:
        return 1 / (1 + math.exp(-z))


@pytest.fixture(scope="session")
def brute_force() -> type[SlowAssigner]:
    return SlowAssigner
