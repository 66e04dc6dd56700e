"""The loss of every representation of box and quality against a loop over images and points in float64, and its
gradient against the loop's."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nanogfl.config import HeadConfig, LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.assign import assign
from nanogfl.loss.criterion import compute_losses
from nanogfl.loss.losses import centerness, gaussian_nll
from nanogfl.model.boxes.anchors import make_anchors
from nanogfl.model.boxes.decode import Grid, make_grid
from nanogfl.model.detector import Predictions
from tests import thinned as thin
from tests.loss.test_criterion import TRUTHS, make_truth, overlap
from tests.loss.truth_index import truth_index
from tests.representations import BOXES, DGQP, PER_LEVEL, RETINA, matching_loss, small_head

HW, STRIDES, CLASSES = (64, 96), (8, 16, 32), 3
SOME = "objects in two of three images"


def grid_of(head: HeadConfig) -> Grid:
    if head.box == "deltas":
        anchors = make_anchors(HW, STRIDES[1:], head.point_offset, head.anchor_size)
        return Grid(anchors.points, anchors.strides, anchors.level_sizes, head, anchors.sizes)
    return make_grid(HW, STRIDES, head.point_offset)._replace(head=head)


def predict(head: HeadConfig, batch: int = 3) -> Predictions:
    points = len(grid_of(head).points)
    size = 0.7 if head.box == "deltas" else 1.5
    quality = torch.randn(batch, points).requires_grad_() if head.dgqp or head.has_quality_branch else None
    return Predictions(
        (torch.randn(batch, points, CLASSES) * 2).requires_grad_(),
        (torch.randn(batch, points, 4, head.side_values) * size).requires_grad_(),
        quality,
    )


# The loop ---------------------------------------------------------------------------------------------------


def softplus(x: Tensor) -> Tensor:
    return x.exp().log1p()


def entropy(p: Tensor, y: float) -> Tensor:
    """Of a probability."""
    return -(y * p.log() + (1 - y) * (-p).log1p())


def giou(box: list[Tensor], target: list[float]) -> Tensor:
    zero = torch.zeros(())
    low, high = (
        [pick(v, torch.tensor(t)) for v, t in zip(box, target, strict=True)] for pick in (torch.maximum, torch.minimum)
    )
    both = (high[2] - low[0]).maximum(zero) * (high[3] - low[1]).maximum(zero)
    union = (box[2] - box[0]) * (box[3] - box[1]) + (target[2] - target[0]) * (target[3] - target[1]) - both
    hull = (low[2] - high[0]) * (low[3] - high[1])
    return both / union - (hull - union) / hull


def fcos_centerness(left: float, top: float, right: float, bottom: float) -> float:
    return (min(left, right) / max(left, right) * (min(top, bottom) / max(top, bottom))) ** 0.5


def in_ignored_region(truth: Truth, image: int, x: float, y: float) -> bool:
    regions = zip(truth.ignored.tolist(), truth.ignored_image.tolist(), strict=True)
    return any(owner == image and r[0] < x < r[2] and r[1] < y < r[3] for r, owner in regions)


class Loop:
    """docs/formulas.md, point by point; every number that a formula does not differentiate is a Python float."""

    def __init__(self, predictions: Predictions, grid: Grid, truth: Truth, config: LossConfig) -> None:
        self.leaves = [None if x is None else x.detach().double().requires_grad_() for x in predictions]
        self.grid, self.head, self.truth, self.config = grid, grid.head, truth, config
        self.ignored = 0

    def run(self, owner: list[list[int]], doubtful: list[list[bool]]) -> tuple[dict[str, float], list[Tensor | None]]:
        """owner: of each image and point, -1 for none; doubtful: those without that are no background either. ->
        losses, and the gradients of their total in the predictions."""
        cls = box = sides = branch = torch.zeros((), dtype=torch.float64)
        weights, positives = 0.0, 0
        for image, points in enumerate(owner):
            for p, index in enumerate(points):
                x, y = self.grid.points[p].tolist()
                if index < 0 and (doubtful[image][p] or in_ignored_region(self.truth, image, x, y)):
                    self.ignored += 1
                    continue
                scores = self.probabilities(image, p)
                if index < 0:
                    cls = cls + self.classification(scores, -1, 0.0)
                    continue
                target, label = self.truth.boxes[index].tolist(), int(self.truth.labels[index])
                distances = (x - target[0], y - target[1], target[2] - x, target[3] - y)
                box_loss, side_loss, iou = self.box(image, p, target, distances)
                quality = fcos_centerness(*distances) if self.head.quality.startswith("centerness") else iou
                weight = {
                    "score": lambda scores=scores: scores.max().item(),
                    "centerness": lambda distances=distances: fcos_centerness(*distances),
                    "none": lambda: 1.0,
                }[self.config.box_weight]()
                positives, weights = positives + 1, weights + weight
                cls = cls + self.classification(scores, label, quality)
                box, sides = box + weight * box_loss, sides + weight * side_loss
                if self.head.quality in ("centerness", "iou"):
                    branch = branch + entropy(self.leaves[2][image, p].sigmoid(), quality)
        cls, branch = cls / max(1, positives), branch / max(1, positives)
        box, sides = box / max(1.0, weights), sides / (4 * max(1.0, weights))
        config = self.config
        total = config.cls * cls + config.box * box + config.side * sides + config.quality * branch
        leaves = [leaf for leaf in self.leaves if leaf is not None]
        slopes = torch.autograd.grad(total, leaves, allow_unused=True)
        losses = dict(zip(("total", "cls", "box", "side", "quality"), (total, cls, box, sides, branch), strict=True))
        return {name: value.item() for name, value in losses.items()} | {"positives": positives}, list(slopes)

    def probabilities(self, image: int, p: int) -> Tensor:
        scores = self.leaves[0][image, p].sigmoid()
        return scores * self.leaves[2][image, p].sigmoid() if self.head.dgqp else scores

    def classification(self, scores: Tensor, label: int, quality: float) -> Tensor:
        """label -1: background."""
        loss, config = torch.zeros((), dtype=torch.float64), self.config
        for c, p in enumerate(scores):
            if config.classification == "qfl":
                y = quality if c == label else 0.0
                loss = loss + (y - p).abs() ** config.beta * entropy(p, y)
            elif c == label:
                alpha = 1.0 if config.alpha is None else config.alpha
                guide = quality if self.head.quality.endswith("guided") else 1.0
                loss = loss + guide * alpha * (1 - p) ** config.gamma * -p.log()
            else:
                alpha = 0.0 if config.alpha is None else config.alpha
                loss = loss + (1 - alpha) * p**config.gamma * -(-p).log1p()
        return loss

    def box(self, image: int, p: int, target: list[float], distances) -> tuple[Tensor, Tensor | float, float]:
        """Box loss, loss of the sides, IoU."""
        given, stride, head = self.leaves[1][image, p], self.grid.strides[p].item(), self.head
        x, y = self.grid.points[p].tolist()
        if head.box == "deltas":
            width, height = self.grid.anchors[p].double().tolist()
            wanted = [(target[0] + target[2]) / 2 - x, (target[1] + target[3]) / 2 - y]
            wanted = [wanted[0] / width, wanted[1] / height]
            wanted += [torch.tensor((target[2] - target[0]) / width).log().item()]
            wanted += [torch.tensor((target[3] - target[1]) / height).log().item()]
            loss, beta = torch.zeros((), dtype=torch.float64), self.config.smooth_l1_beta
            for d in (given[:, 0] - torch.tensor(wanted, dtype=torch.float64)).abs():
                loss = loss + (d * d / (2 * beta) if d < beta else d - beta / 2)
            return loss, 0.0, 0.0
        if head.box in ("dirac", "gaussian"):
            reach = softplus(given[:, 0])
        else:
            reach = sum(i * head.bin_width * given.softmax(-1)[:, i] for i in range(head.reg_max + 1))
        left, top, right, bottom = reach * stride
        found = [x - left, y - top, x + right, y + bottom]
        iou = overlap([v.item() for v in found], target)[0]
        loss, sides = 1 - giou(found, target), torch.zeros((), dtype=torch.float64)
        for side, distance in enumerate(distances):
            t = distance / stride
            if head.box == "gaussian":
                sigma = softplus(given[side, 1]) + 0.01
                sides = sides + sigma.log() + (t - reach[side]) ** 2 / (2 * sigma**2)
            elif head.box == "general+dfl":
                t = min(max(t / head.bin_width, 0.0), head.reg_max - 0.1)
                i, s = int(t), given[side].softmax(-1)
                sides = sides - ((i + 1 - t) * s[i].log() + (t - i) * s[i + 1].log())
        return loss, sides, iou


def check(predictions: Predictions, grid: Grid, truth: Truth, config: LossConfig, owner, doubtful=None) -> Loop:
    """Values within 3e-5, gradients within 1e-3, of what the loop says."""
    found = compute_losses(predictions, grid, truth, config)
    found.total.backward()
    loop = Loop(predictions, grid, truth, config)
    expected, slopes = loop.run(owner, doubtful or [[False] * len(grid.points) for _ in owner])
    assert {name: value.item() for name, value in found._asdict().items()} == pytest.approx(expected, rel=3e-5)
    given = [x for x in predictions if x is not None]
    for tensor, slope in zip(given, slopes, strict=True):
        if slope is None:
            assert tensor.grad is None or not tensor.grad.any()
        else:
            most = slope.abs().max().item()
            torch.testing.assert_close(tensor.grad.double(), slope, rtol=1e-3, atol=1e-5 * max(most, 1e-3))
    return loop


# Grid points ------------------------------------------------------------------------------------------------

WEIGHTS = {"cls": 0.5, "box": 3.0, "side": 0.75, "quality": 1.5, "beta": 1.7, "alpha": 0.3, "gamma": 1.5}
NARROW = {
    f"{box}, bins of {width} strides": small_head(box, bin_width=width)
    for box in ("general", "general+dfl")
    for width in (0.5, 1.5)
}
HEADS = {**PER_LEVEL, **DGQP, **NARROW}
USUAL = ["dirac, none", "dirac, centerness", "gaussian, iou", "general, centerness-guided", "general, joint"]
USUAL += ["general+dfl, joint", "general+dfl, iou-guided", "general+dfl, DGQP", "general+dfl, bins of 0.5 strides"]


@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize("head", thin.thinned(HEADS, *USUAL))
def test_losses_and_gradients_equal_a_loop_over_images_and_points(brute_force_atss, head, name):
    head = HEADS[head]
    grid, truth, predictions = grid_of(head), TRUTHS[name], predict(head)
    owner, margin = brute_force_atss(grid, truth, 3, 9, 8.0)
    assert margin > 1e-5
    loop = check(predictions, grid, truth, matching_loss(head, **WEIGHTS), owner)
    assert (loop.ignored > 0) == ("ignored" in name)


WEIGHED = {**{box: small_head(box) for box in BOXES}, "DGQP": DGQP["general, DGQP"], "iou": PER_LEVEL["dirac, iou"]}


@pytest.mark.parametrize("weight", ["score", "centerness", "none"])
@pytest.mark.parametrize("head", WEIGHED.values(), ids=WEIGHED)
def test_whatever_weighs_the_positives(brute_force_atss, head, weight):
    """With DGQP a score is J; a quality of its own is no part of the score that weighs."""
    grid, truth, predictions = grid_of(head), TRUTHS["with ignored regions"], predict(head)
    owner, _ = brute_force_atss(grid, truth, 3, 9, 8.0)
    check(predictions, grid, truth, matching_loss(head, box_weight=weight), owner)


@pytest.mark.parametrize("quality", ["none", "centerness-guided"])
def test_focal_loss_without_alpha(brute_force_atss, quality):
    head = small_head("dirac", quality)
    grid, truth, predictions = grid_of(head), TRUTHS[SOME], predict(head)
    owner, _ = brute_force_atss(grid, truth, 3, 9, 8.0)
    check(predictions, grid, truth, matching_loss(head, alpha=None), owner)


def test_a_head_without_dfl_has_the_other_losses_of_the_same_head_with_it():
    with_dfl, without = small_head("general+dfl"), small_head("general")
    predictions, truth = predict(with_dfl), TRUTHS[SOME]
    a, b = (compute_losses(predictions, grid_of(head), truth, LossConfig()) for head in (with_dfl, without))
    assert torch.equal(a.box, b.box)
    assert torch.equal(a.cls, b.cls)
    assert b.side == 0
    assert b.total.item() == pytest.approx((a.total - 0.25 * a.side).item(), rel=1e-6)


@pytest.mark.parametrize("name", ["gaussian, centerness", "dirac, iou-guided", "general, DGQP", "RetinaNet"])
def test_padding_the_truth_changes_no_bit(name):
    head = {**HEADS, "RetinaNet": RETINA}[name]
    predictions, grid, truth = predict(head), grid_of(head), TRUTHS["with ignored regions"]
    padded = Truth(*(torch.cat((part, torch.zeros(5, *part.shape[1:], dtype=part.dtype))) for part in truth))
    slopes = []
    for each in (truth, padded):
        losses = compute_losses(predictions, grid, each, matching_loss(head))
        slopes.append([*losses, *torch.autograd.grad(losses.total, [x for x in predictions if x is not None])])
    assert all(torch.equal(a, b) for a, b in zip(*slopes, strict=True))


@pytest.mark.parametrize("name", ["gaussian, centerness", "general, DGQP", "RetinaNet"])
def test_a_truth_of_nothing_but_padding_is_no_objects_at_all(name):
    """A compiled batch without objects: empty boxes, whose logarithm and overlap are of nothing."""
    head = {**HEADS, "RetinaNet": RETINA}[name]
    predictions, grid, config = predict(head), grid_of(head), matching_loss(head)
    losses, padded = (
        compute_losses(predictions, grid, make_truth(boxes, [0] * len(boxes), [0] * len(boxes)), config)
        for boxes in ([], [[0.0] * 4] * 3)
    )
    assert all(torch.equal(a, b) for a, b in zip(losses, padded, strict=True))
    assert padded.positives == padded.box == padded.side == padded.quality == 0
    padded.total.backward()
    assert all(x.grad is None or torch.isfinite(x.grad).all() for x in predictions if x is not None)


@pytest.mark.parametrize("size", [-50.0, 50.0])
@pytest.mark.parametrize("name", thin.thinned([*HEADS, "RetinaNet"], *USUAL, "RetinaNet"))
def test_extreme_predictions_have_finite_losses_and_gradients(name, size):
    head = {**HEADS, "RetinaNet": RETINA}[name]
    predictions = Predictions(
        *(None if x is None else torch.full_like(x, size).requires_grad_() for x in predict(head))
    )
    losses = compute_losses(predictions, grid_of(head), TRUTHS["with ignored regions"], matching_loss(head))
    losses.total.backward()
    assert all(torch.isfinite(value) for value in losses)
    assert all(torch.isfinite(x.grad).all() for x in predictions if x is not None)


@pytest.mark.parametrize("name", ["gaussian, iou", "dirac, centerness-guided", "general+dfl, DGQP", "RetinaNet"])
def test_bfloat16_predictions_give_the_losses_of_their_values_in_float32(name):
    head = {**HEADS, "RetinaNet": RETINA}[name]
    half = Predictions(*(None if x is None else x.detach().bfloat16() for x in predict(head)))
    whole = Predictions(*(None if x is None else x.float() for x in half))
    truth, config = TRUTHS[SOME], matching_loss(head)
    a, b = (compute_losses(x, grid_of(head), truth, config) for x in (half, whole))
    assert all(value.dtype == torch.float32 for value in a)
    torch.testing.assert_close(torch.stack(a), torch.stack(b))


@pytest.mark.parametrize("assigner", ["dsla", "tal"])
def test_an_assigner_that_looks_at_scores_sees_the_score_j(assigner):
    head = small_head("general", dgqp=True)
    predictions, truth, config = predict(head), TRUTHS["with ignored regions"], LossConfig(assigner=assigner)
    classes, quality = (x.detach().double().sigmoid() for x in (predictions.cls_logits, predictions.quality_logits))
    score = classes * quality[..., None]
    joined = Predictions((score / (1 - score)).log().float(), predictions.box_pred)
    found = assign(predictions, grid_of(head), truth, config)
    expected = assign(joined, grid_of(replace(head, dgqp=False)), truth, config)
    apart = assign(predictions, grid_of(replace(head, dgqp=False)), truth, config)
    assert torch.equal(truth_index(found), truth_index(expected))
    torch.testing.assert_close(found.quality, expected.quality, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found.quality, apart.quality, atol=1e-3)


# Anchors ----------------------------------------------------------------------------------------------------


def slow_max_iou(grid: Grid, truth: Truth, batch: int) -> tuple[list[list[int]], list[list[bool]]]:
    """RetinaNet's paper: an object from .5 on, nothing between .4 and .5; and the anchors nearest to an object."""
    owner = [[-1] * len(grid.points) for _ in range(batch)]
    doubtful = [[False] * len(grid.points) for _ in range(batch)]
    centres, sizes = grid.points.double(), grid.anchors.double()
    anchors = torch.cat((centres - sizes / 2, centres + sizes / 2), dim=1).tolist()
    for image in range(batch):
        own = [index for index, of in enumerate(truth.image.tolist()) if of == image]
        table = {index: [overlap(anchor, truth.boxes[index].tolist())[0] for anchor in anchors] for index in own}
        best = {index: max(row) for index, row in table.items()}
        # an anchor around the whole of an object overlaps it as much wherever it lies: float32 has no such ties
        assert all(sum(value > best[index] - 1e-5 for value in row) == 1 for index, row in table.items())
        for p in range(len(anchors)):
            nearest = [index for index in own if table[index][p] == best[index] > 0]
            most = max(nearest or own, key=lambda index, p=p: table[index][p], default=None)
            if most is None:
                continue
            assert min(abs(table[most][p] - limit) for limit in (0.4, 0.5)) > 1e-5
            if nearest or table[most][p] >= 0.5:
                owner[image][p] = most
            else:
                doubtful[image][p] = table[most][p] >= 0.4
    return owner, doubtful


ANCHORED = {
    "two in one image": make_truth([[24, 9, 86, 60], [1, 10, 82, 48]], [1, 0], [0, 0]),
    "with ignored regions": make_truth(
        [[4, 6, 67, 58], [1, 10, 95, 41]], [1, 2], [0, 2], [[30, 10, 96, 64], [0, 0, 50, 40]], [0, 1]
    ),
    "no objects": make_truth([], [], []),
}


@pytest.mark.parametrize("beta", [1 / 9, 2.0])
@pytest.mark.parametrize("name", ANCHORED)
def test_retinanets_losses_and_gradients_equal_a_loop_over_images_and_anchors(name, beta):
    grid, truth, predictions = grid_of(RETINA), ANCHORED[name], predict(RETINA)
    owner, doubtful = slow_max_iou(grid, truth, 3)
    config = matching_loss(RETINA, smooth_l1_beta=beta, cls=0.5, box=1.5, alpha=0.3)
    loop = check(predictions, grid, truth, config, owner, doubtful)
    flat = [bad for of_image in doubtful for bad in of_image]
    if name != "no objects":
        assert any(flat)  # anchors that count nowhere
        assert loop.ignored >= sum(flat)
        still = (predictions.cls_logits.grad == 0).all(dim=-1).flatten()
        assert still[torch.tensor(flat)].all()


def test_anchors_of_another_size_learn_other_deltas():
    head = replace(RETINA, anchor_size=3.0, point_offset=0.5)
    grid, truth, predictions = grid_of(head), ANCHORED["two in one image"], predict(head)
    check(predictions, grid, truth, matching_loss(head), *slow_max_iou(grid, truth, 3))


# The terms --------------------------------------------------------------------------------------------------


def test_centerness_is_1_in_the_middle_and_0_on_a_side_and_outside():
    distances = torch.tensor([[4.0, 6, 4, 6], [1.0, 2, 4, 2], [0, 1, 5, 1], [-1, 2, 3, 4], [-1, -1, -2, -2], [0] * 4])
    assert centerness(distances).tolist() == pytest.approx([1, 0.5, 0, 0, 0, 0])
    numbers = torch.rand(50, 4) * 30
    expected = [fcos_centerness(*row) for row in numbers.double().tolist()]
    assert centerness(numbers).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_gaussian_term_is_the_density_of_torch_distributions_less_its_constant():
    mean, sigma, target = torch.randn(20), torch.rand(20) + 0.05, torch.randn(20)
    density = torch.distributions.Normal(mean.double(), sigma.double()).log_prob(target.double())
    expected = -density - 0.5 * torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64))
    torch.testing.assert_close(gaussian_nll(mean, sigma, target).double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", thin.thinned(["gaussian, iou", "dirac, centerness-guided", "general, DGQP", "RetinaNet"], "gaussian, iou")
)
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo, of itself
def test_compiled_as_one_graph_the_losses_and_gradients_are_equal(name):
    head = {**HEADS, "RetinaNet": RETINA}[name]
    predictions, grid, truth = predict(head), grid_of(head), TRUTHS["with ignored regions"]

    def total(given: Predictions) -> Tensor:
        return compute_losses(given, grid, truth, matching_loss(head)).total

    torch._dynamo.reset()
    leaves = [x for x in predictions if x is not None]
    fast = torch.compile(total, fullgraph=True, dynamic=False, backend="aot_eager")
    slopes = [torch.autograd.grad(of(predictions), leaves) for of in (fast, total)]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b)
