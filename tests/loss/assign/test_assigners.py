"""The assigners by grid points: against loops, in any order of the objects, padded, without waiting, compiled."""

import math
import shutil
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nanogfl.config import LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.assign import assign
from nanogfl.loss.assign.candidates import Assignment, canonical_rank, lowest
from nanogfl.loss.assign.dsla import dsla_candidates
from nanogfl.loss.assign.tal import tal_candidates
from nanogfl.loss.criterion import Losses, compute_losses
from nanogfl.model.boxes.decode import Grid, make_grid
from nanogfl.model.detector import Predictions, read_levels
from nanogfl.model.heads.layout import HeadLayout
from tests import thinned as thin
from tests.loss.truth_index import truth_index

STRIDES = (8, 16, 32, 64)
ASSIGNERS = ["atss", "dsla", "tal"]


class Case(NamedTuple):
    predictions: Predictions
    grid: Grid
    truth: Truth


def random_case(seed: int, *, ties: bool, classes: int = 3, hw=(64, 96), objects: int = 8, batch: int = 3) -> Case:
    """Image 1 has no object. With ties: whole boxes, equal predictions at most points, equal objects."""
    numbers = np.random.default_rng(seed)
    torch.manual_seed(seed)
    grid = make_grid(hw, STRIDES, 0.5)
    corner = numbers.uniform(0, [hw[1] - 8, hw[0] - 8], (objects, 2))
    size = np.exp(numbers.uniform(np.log(3), np.log(90), (objects, 2)))
    boxes = np.concatenate([corner, np.minimum(corner + size, [hw[1], hw[0]])], axis=1)
    labels, images = numbers.integers(0, classes, objects), numbers.choice([0, 2], objects) % batch
    # In the memory order of the detector's own predictions.
    output = torch.randn(batch, classes + 32, 1, len(grid.points))
    if objects > 3:
        boxes[1] = boxes[0] + [1, 0, 4, 2]  # two that want the same points
        images[1] = images[0]
    if ties:
        boxes = np.round(boxes / 4) * 4
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 4)
        output[:, :classes] = output[:, :1].round().clamp(-1, 1)
        output[:, classes:] = 0  # 3.5 strides to every side, exactly
        if objects > 3:
            boxes[2:4], images[2:4] = boxes[0], images[0]  # equal boxes, perhaps of different classes
            labels[3] = (labels[2] + 1) % classes
    truth = Truth(
        torch.from_numpy(boxes).float(),
        torch.from_numpy(labels),
        torch.from_numpy(images),
        torch.tensor([[0.0, 0, 30, 40], [20, 20, 90, 60]])[: objects % 3],
        torch.tensor([0, 1])[: objects % 3],
    )
    return Case(
        read_levels([output.requires_grad_()], (len(grid.points),), HeadLayout.of(grid.head, classes)), grid, truth
    )


def learned(found: Assignment, truth: Truth) -> dict[tuple[int, int], tuple[float, ...]]:
    """(image, point) -> box and label, and the quality: what each point learns, whatever the objects' order is."""
    pairs = zip(found.image, found.point, found.owner, found.positive, found.quality, strict=True)
    result = {}
    for image, point, owner, positive, quality in pairs:
        if positive:
            assert (int(image), int(point)) not in result
            result[int(image), int(point)] = (*truth.boxes[owner].tolist(), int(truth.labels[owner]), quality.item())
    return result


@pytest.mark.slow
@pytest.mark.parametrize("ties", [False, True], ids=["any", "ties"])
@pytest.mark.parametrize(
    "config",
    [
        LossConfig(assigner="dsla"),
        LossConfig(assigner="dsla", dsla_candidates=5, dsla_iou_weight=0.5),
        LossConfig(assigner="tal"),
        LossConfig(assigner="tal", tal_candidates=4, tal_alpha=0.5, tal_beta=2.0),
    ],
    ids=["dsla", "dsla-5", "tal", "tal-4"],
)
@pytest.mark.parametrize("seeds", thin.seeds(20, 80))
def test_random_batches_equal_the_loop(brute_force, config, ties, seeds):
    compared = positives = contested = tied = 0
    for seed in seeds:
        hw = [(64, 96), (96, 64), (32, 64)][seed % 3]  # 32 x 64 has 43 points
        predictions, grid, truth = random_case(seed, ties=ties, classes=1 + 2 * (seed % 2), hw=hw, objects=seed % 9)
        slow = brute_force(predictions, grid, truth, config)
        if slow.margin < 1e-4:
            continue  # float32 and float64 may differ where two numbers nearly meet
        compared += 1
        found = assign(predictions, grid, truth, config)
        result = learned(found, truth)
        assert result.keys() == slow.owner.keys(), seed
        for place, owner in slow.owner.items():
            assert result[place][:5] == (*truth.boxes[owner].tolist(), int(truth.labels[owner])), seed
            assert result[place][5] == pytest.approx(slow.quality[place], rel=1e-4, abs=1e-7)
        for image, point in torch.cartesian_prod(torch.arange(3), torch.arange(len(grid.points))).tolist():
            x, y = grid.points[point].tolist()
            regions = truth.ignored[truth.ignored_image == image].tolist()
            covered = any(r[0] < x < r[2] and r[1] < y < r[3] for r in regions)
            assert bool(found.ignored[image, point]) == (covered and (image, point) not in result)
        positives += len(result)
        contested, tied = contested + slow.contested, tied + slow.tied
    share = len(seeds) / 80
    assert compared >= 20 * share
    assert positives > 100 * share
    assert contested > 20 * share
    assert not ties or tied > 0


@pytest.mark.parametrize("ties", [False, True], ids=["any", "ties"])
@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_the_order_of_the_objects_changes_nothing(assigner, ties):
    config = LossConfig(assigner=assigner)
    for seed in range(20):
        predictions, grid, truth = random_case(seed, ties=ties)
        before = learned(assign(predictions, grid, truth, config), truth)
        loss = compute_losses(predictions, grid, truth, config)
        order = torch.randperm(len(truth.boxes))
        mixed = Truth(truth.boxes[order], truth.labels[order], truth.image[order], *truth[3:])
        after = learned(assign(predictions, grid, mixed, config), mixed)
        assert after.keys() == before.keys()
        for place in after:
            assert after[place][:5] == before[place][:5]
        torch.testing.assert_close(compute_losses(predictions, grid, mixed, config), loss, rtol=1e-6, atol=0)
        assert before


@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_equal_boxes_of_two_classes_leave_their_points_to_the_lower_label(assigner):
    grid = make_grid((64, 96), STRIDES, 0.5)
    predictions = Predictions(torch.zeros(1, 128, 2), torch.zeros(1, 128, 4, 8))
    box = torch.tensor([[10.0, 10, 60, 50]])
    for labels in ([0, 1], [1, 0]):
        truth = Truth(box.repeat(2, 1), torch.tensor(labels), torch.tensor([0, 0]), box[:0], torch.zeros(0).long())
        found = learned(assign(predictions, grid, truth, LossConfig(assigner=assigner)), truth)
        assert found
        assert {learns[4] for learns in found.values()} == {0}


def test_equal_claims_go_by_area_then_label_then_coordinates():
    numbers = np.random.default_rng(0)
    for _ in range(20):
        corner = numbers.integers(-3, 3, (60, 2)) * 4.0
        boxes = np.concatenate([corner, corner + numbers.choice([4.0, 8.0, 16.0], (60, 2))], axis=1)
        labels = numbers.integers(0, 2, 60)
        keys = [
            ((b[2] - b[0]) * (b[3] - b[1]), label, *b, place)
            for place, (b, label) in enumerate(zip(boxes.tolist(), labels.tolist(), strict=True))
        ]
        truth = Truth(
            torch.from_numpy(boxes).float(),
            torch.from_numpy(labels),
            torch.zeros(60).long(),
            torch.zeros(0, 4),
            torch.zeros(0).long(),
        )
        order = sorted(range(60), key=keys.__getitem__)
        assert canonical_rank(truth)[order].tolist() == list(range(60))


def padded(truth: Truth, objects: int, regions: int) -> Truth:
    """Empty boxes behind the real ones."""
    none, zeros = torch.zeros(objects, 4), torch.zeros(objects, dtype=torch.long)
    return Truth(
        torch.cat((truth.boxes, none)),
        torch.cat((truth.labels, zeros)),
        torch.cat((truth.image, zeros)),
        torch.cat((truth.ignored, torch.zeros(regions, 4))),
        torch.cat((truth.ignored_image, torch.zeros(regions, dtype=torch.long))),
    )


def loss_and_gradient(case: Case, truth: Truth, config: LossConfig) -> tuple[Losses, tuple[torch.Tensor, ...]]:
    losses = compute_losses(case.predictions, case.grid, truth, config)
    return losses, torch.autograd.grad(losses.total, case.predictions[:2], retain_graph=True)


@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_empty_boxes_own_no_point_and_change_nothing_to_the_bit(assigner):
    config, positives = LossConfig(assigner=assigner), 0.0
    for seed in range(24):
        objects = seed % 9
        hw = [(64, 96), (32, 64)][seed % 2]  # 43 points: the ends of vectors lie anywhere
        case = random_case(seed, ties=bool(seed // 2 % 2), objects=objects, hw=hw)
        losses, gradients = loss_and_gradient(case, case.truth, config)
        for more in (1, 7, 23):
            truth = padded(case.truth, more, more - 1)
            found, slopes = loss_and_gradient(case, truth, config)
            assert all(torch.equal(a, b) for a, b in zip(losses, found, strict=True))
            assert all(torch.equal(a, b) for a, b in zip(gradients, slopes, strict=True))
            assert (truth_index(assign(case.predictions, case.grid, truth, config)) < objects).all()
        positives += losses.positives.item()
    assert positives > 50


@pytest.mark.parametrize("assigner", ["dsla", "tal"])
def test_an_object_at_the_end_of_the_list_is_weighed_as_one_before_others(assigner):
    """torch's sigmoid and softplus round differently at the end of a tensor; the assigners must not."""
    grid = make_grid((64, 128), STRIDES, 0.5)
    assert len(grid.points) % 8  # or nothing lies at an end
    for seed in range(10):
        torch.manual_seed(seed)
        predictions = Predictions(torch.randn(1, 170, 2), torch.randn(1, 170, 4, 8))
        zero, none = torch.zeros(1, dtype=torch.long), torch.zeros(0, dtype=torch.long)
        truth = Truth(torch.tensor([[0.0, 0, 128, 64]]), zero, zero, torch.zeros(0, 4), none)
        match assigner:
            case "dsla":
                first, last = (
                    dsla_candidates(predictions, grid, t, candidates=170, iou_weight=3.0)
                    for t in (padded(truth, 1, 0), truth)
                )
            case "tal":
                first, last = (
                    tal_candidates(predictions, grid, t, candidates=170, alpha=1.0, beta=6.0)
                    for t in (padded(truth, 1, 0), truth)
                )
        assert all(torch.equal(a[0], b[0]) for a, b in zip(first[:4], last[:4], strict=True))


@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_no_objects_at_all(assigner):
    case = random_case(0, ties=False, objects=0)
    losses, (cls_slope, dist_slope) = loss_and_gradient(case, case.truth, LossConfig(assigner=assigner))
    assert (losses.box.item(), losses.side.item(), losses.positives.item()) == (0, 0, 0)
    assert losses.cls > 0
    assert cls_slope.any()
    assert not dist_slope.any()


@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_each_image_of_a_batch_learns_what_it_learns_alone(assigner):
    predictions, grid, truth = random_case(5, ties=False)
    config = LossConfig(assigner=assigner)
    together = learned(assign(predictions, grid, truth, config), truth)
    count = 0
    for image in range(3):
        mine = truth.image == image
        single = Truth(
            truth.boxes[mine], truth.labels[mine], torch.zeros(int(mine.sum())).long(), truth.ignored[:0], truth[4][:0]
        )
        alone = Predictions(*(tensor[image : image + 1] for tensor in predictions[:2]))
        found = learned(assign(alone, grid, single, config), single)
        assert {point: learns[:5] for (_, point), learns in found.items()} == {
            point: learns[:5] for (owner, point), learns in together.items() if owner == image
        }
        count += len(found)
    assert count == len(together) > 0


def test_dsla_gives_an_object_without_overlap_one_point():
    grid = make_grid((64, 96), (8,), 0.5)
    dist_logits = torch.zeros(1, 96, 4, 8)
    dist_logits[..., 0] = 50  # every predicted box is a point
    predictions = Predictions(torch.zeros(1, 96, 1), dist_logits)
    truth = Truth(torch.tensor([[10.0, 10, 60, 50]]), *(torch.zeros(1).long(),) * 2, torch.zeros(0, 4), torch.zeros(0))
    truth = truth._replace(ignored_image=torch.zeros(0, dtype=torch.long))
    assert assign(predictions, grid, truth, LossConfig(assigner="dsla")).positive.sum() == 1


def test_lowest_gives_the_earlier_of_equal_values_and_takes_negative_ones():
    values = torch.tensor([[3.0, -1, 0, -0.0, -2.5, 3], [math.inf, 1, 1, 1, -math.inf, 1]])
    assert lowest(values, 5).tolist() == [[4, 1, 2, 3, 0], [4, 1, 2, 3, 5]]
    assert lowest(values, 9).shape == (2, 6)
    many = torch.randn(5, 300).round()
    order = sorted(range(300), key=lambda i: (many[2, i].item(), i))
    assert lowest(many, 40)[2].tolist() == order[:40]


FORBIDDEN = ("nonzero", "masked_select", "_local_scalar_dense", "item", "unique", "repeat_interleave", "is_nonzero")


class Watch(TorchDispatchMode):
    """Counts the operators that run and forbids those whose output size depends on data or that wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert not name.startswith(FORBIDDEN), name
        if name.startswith("index"):
            tensors = [x for arg in args if isinstance(arg, list | tuple) for x in arg if isinstance(x, torch.Tensor)]
            assert all(x.dtype not in (torch.bool, torch.uint8) for x in tensors), f"{name} by a mask"
        assert "float64" not in str([x.dtype for x in args if isinstance(x, torch.Tensor)]), name
        if not func.is_view:  # a view runs nothing
            self.names[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "bad", [lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: x.sum().item(), lambda x: bool(x.any())]
)
def test_the_watch_sees_what_depends_on_data(bad):
    with pytest.raises(AssertionError), Watch():
        bad(torch.ones(3))


@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_operators_are_few_and_none_depends_on_data(assigner):
    counts = []
    for objects, batch in ((2, 2), (8, 3), (40, 6), (0, 3)):
        case = random_case(objects, ties=False, objects=objects, batch=batch)
        with Watch() as watch:
            losses = compute_losses(case.predictions, case.grid, case.truth, LossConfig(assigner=assigner))
            forward = watch.names.total()
            torch.autograd.grad(losses.total, case.predictions[:2])
        counts.append((forward, watch.names.total()))
    nothing = counts.pop()  # what is empty need not be copied
    assert len(set(counts)) == 1, counts
    assert nothing[0] <= counts[0][0] + 2, (nothing, counts)
    assert counts[0][0] < 350, counts
    assert counts[0][1] < 470, counts


def compiled_equals_eager(assigner: str, backend: str) -> None:
    torch._dynamo.reset()
    config = LossConfig(assigner=assigner)
    grid = make_grid((64, 96), STRIDES, 0.5)

    def step(cls_logits, dist_logits, truth):
        return tuple(compute_losses(Predictions(cls_logits, dist_logits), grid, truth, config))

    fast = torch.compile(step, fullgraph=True, backend=backend)
    for seed in (1, 2):
        case = random_case(seed, ties=False)
        leaves = [tensor.detach().requires_grad_() for tensor in case.predictions[:2]]
        results = []
        for function in (step, fast):
            losses = function(*leaves, padded(case.truth, 4, 3))
            results.append((*losses, *torch.autograd.grad(losses[0], leaves)))
        torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-6)
        assert results[0][Losses._fields.index("positives")] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo, of itself
@pytest.mark.parametrize("assigner", thin.thinned(ASSIGNERS, "dsla"))
def test_compiled_as_one_graph_the_losses_are_equal(assigner):
    compiled_equals_eager(assigner, "aot_eager")


@pytest.mark.slow
@pytest.mark.exhaustive  # half a minute of g++
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles C++ on a CPU")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_compiled_to_machine_code_the_losses_are_equal():
    compiled_equals_eager("dsla", "inductor")
