"""RetinaNet's assignment against loops over exact fractions, in any order, padded, without waiting, compiled."""

import shutil
from collections import Counter
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from nanogfl.data.truth import Truth
from nanogfl.loss.assign.candidates import Assignment
from nanogfl.loss.assign.max_iou import max_iou_assignment
from nanogfl.model.boxes.anchors import make_anchors
from tests import thinned as thin
from tests.loss.assign.test_assigners import Watch, learned, padded
from tests.loss.test_criterion import make_truth
from tests.loss.truth_index import truth_index

Number = Fraction | float


class Case(NamedTuple):
    centres: Tensor
    sizes: Tensor
    truth: Truth
    batch: int

    def assign(self, truth: Truth | None = None, **limits: float) -> Assignment:
        return max_iou_assignment(self.centres, self.sizes, truth or self.truth, self.batch, **limits)


def whole_case(seed: int, *, classes: int = 3, batch: int = 3) -> Case:
    """Whole numbers below 48, so that float32 divides the same exact areas as a fraction does: all ties are ties."""
    numbers = np.random.default_rng(seed)
    height, width = [(24, 40), (40, 24), (16, 32)][seed % 3]
    shapes = [[(8, 8), (16, 8), (8, 16)], [(16, 16), (16, 8), (20, 8)], [(8, 8), (8, 8)]][seed // 3 % 3]
    top = 12 if seed % 4 == 0 else 4  # from 12 on some objects overlap no anchor
    spots = [(x, y) for y in range(top, height, 8) for x in range(4, width, 8)]
    centres = torch.tensor([spot for spot in spots for _ in shapes], dtype=torch.float32)
    sizes = torch.tensor(shapes * len(spots), dtype=torch.float32)
    count, step = seed % 10, [1, 2, 4][seed // 7 % 3]
    corner = numbers.integers(0, [width - 4, height - 4], (count, 2)) // step * step
    side = numbers.integers(1, [8, 24][seed // 5 % 2], (count, 2)) // step * step
    boxes = np.concatenate([corner, np.minimum(corner + np.maximum(side, step), [width, height])], axis=1)
    labels, images = numbers.integers(0, classes, count), numbers.choice([0, 2], count) % batch  # image 1 has none
    if count > 3 and seed % 2:
        boxes[1:4], images[1:4] = boxes[0], images[0]  # equal boxes, perhaps of different classes
        boxes[3] = [8, 8, 16, 16]
    elif count > 3:
        boxes[1], boxes[2], images[2] = [0, 0, 8, 4], [0, 0, 16, 8], images[1]  # half and twice an anchor of 8 by 8
    regions = [[0, 0, 13, 21], [6, 3, 31, 12], [12, 12, 20, 20]][: seed % 4]
    return Case(centres, sizes, make_truth(boxes, labels, images, regions, [0, 1, 0][: len(regions)]), batch)


def real_case(seed: int, *, batch: int = 2, objects: int | None = None) -> Case:
    """The network's own anchors: irrational sides, objects of any place and size."""
    numbers = np.random.default_rng(seed)
    hw = [(64, 96), (96, 64), (70, 51)][seed % 3]
    anchors = make_anchors(hw, (8, 16, 32), 0.5)
    count = seed % 12 if objects is None else objects
    corner = numbers.uniform(0, [hw[1] - 8, hw[0] - 8], (count, 2))
    boxes = np.concatenate([corner, corner + np.exp(numbers.uniform(np.log(1), np.log(90), (count, 2)))], axis=1)
    truth = make_truth(boxes, numbers.integers(0, 3, count), numbers.integers(0, batch, count), [[9, 9, 60, 50]], [0])
    return Case(anchors.points, anchors.sizes, truth, batch)


class Slow:
    """The rule as it is told: one image, one anchor, one object at a time. `seen` counts the rare events."""

    def __init__(self, case: Case, overlaps: list[list[Number]], positive: Number, negative: Number) -> None:
        """`overlaps` of every object with every anchor."""
        truth, centres = case.truth, case.centres.tolist()
        boxes, labels, images = truth.boxes.tolist(), truth.labels.tolist(), truth.image.tolist()
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in boxes]
        most = [max(row) for row in overlaps]
        self.owner: dict[tuple[int, int], int] = {}
        self.quality: dict[tuple[int, int], Number] = {}
        self.ignored: set[tuple[int, int]] = set()
        self.seen: Counter[str] = Counter()
        for image in range(case.batch):
            mine = [g for g in range(len(boxes)) if images[g] == image]
            pairs = zip(truth.ignored.tolist(), truth.ignored_image.tolist(), strict=True)
            regions = [region for region, where in pairs if where == image]
            for n, (x, y) in enumerate(centres):
                overlap = {g: overlaps[g][n] for g in mine}
                best = [g for g in mine if 0 < overlap[g] == most[g]]
                between = any(value >= negative for value in overlap.values())
                inside = any(r[0] < x < r[2] and r[1] < y < r[3] for r in regions)
                among = best or [g for g in mine if overlap[g] >= positive]
                if among:
                    largest = max(overlap[g] for g in among)
                    top = [g for g in among if overlap[g] == largest]
                    first = min(top, key=lambda g: (areas[g], labels[g], boxes[g], g))
                    self.owner[image, n], self.quality[image, n] = first, largest
                    self.seen["tied by area"] += len({areas[g] for g in top}) > 1
                    self.seen["tied by label"] += len({(areas[g], labels[g]) for g in top}) > 1
                    self.seen["best below the limit"] += largest < negative
                    self.seen["best before a larger IoU"] += largest < max(overlap.values())
                    self.seen["two best"] += len(best) > 1
                    self.seen["exactly the limit"] += largest == positive and not best
                elif between or inside:
                    self.ignored.add((image, n))
                    self.seen["between"] += between
                    self.seen["inside"] += inside
                    self.seen["exactly the lower limit"] += max(overlap.values(), default=0) == negative
        owners = set(self.owner.values())
        self.seen["left out"] += sum(most[g] > 0 and g not in owners for g in range(len(boxes)))
        self.seen["without overlap"] += most.count(0)
        self.seen["shared best"] += sum(row.count(max(row)) > 1 for row in overlaps if max(row) > 0)


def exact_overlaps(case: Case) -> list[list[Fraction]]:
    anchors = torch.cat((case.centres - case.sizes / 2, case.centres + case.sizes / 2), dim=1).int().tolist()
    result = []
    for a in case.truth.boxes.int().tolist():
        row = []
        for b in anchors:
            both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
            whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
            row.append(Fraction(both, whole))
        result.append(row)
    return result


def float_overlaps(case: Case) -> list[list[float]]:
    """In numpy's float32, whose roundings decide which of nearly equal anchors are an object's best."""
    centres, sizes, boxes = case.centres.numpy(), case.sizes.numpy(), case.truth.boxes.numpy()
    low, high = centres - sizes / 2, centres + sizes / 2
    result = []
    for box in boxes:
        side = np.maximum(np.minimum(high, box[2:]) - np.maximum(low, box[:2]), np.float32(0))
        both = side[:, 0] * side[:, 1]
        own = (high[:, 0] - low[:, 0]) * (high[:, 1] - low[:, 1])
        row = both / (own + (box[2] - box[0]) * (box[3] - box[1]) - both)
        assert row.dtype == np.float32
        result.append(row.tolist())
    return result


def compare(found: Assignment, slow: Slow, case: Case) -> None:
    batch, count = case.batch, len(case.centres)
    assert found.image.tolist() == [i for i in range(batch) for _ in range(count)]
    assert found.point.tolist() == list(range(count)) * batch
    assert found.ignored.shape == (batch, count)
    rows = zip(found.image.tolist(), found.point.tolist(), found.owner.tolist(), found.positive.tolist(), strict=True)
    owner = {(i, n): g for i, n, g, positive in rows if positive}
    assert owner == slow.owner
    assert not found.owner[~found.positive].any()
    assert {(i, n) for i, n in found.ignored.nonzero().tolist()} == slow.ignored
    exact = [float(slow.quality.get((i, n), 0)) for i in range(batch) for n in range(count)]
    assert found.quality.dtype == torch.float32
    assert found.quality.tolist() == torch.tensor(exact).tolist()  # one correct rounding of the same number


@pytest.mark.parametrize("limits", [(Fraction(1, 2), Fraction(2, 5)), (Fraction(7, 10), Fraction(3, 10))])
@pytest.mark.parametrize("seeds", thin.seeds(90, 240))
def test_whole_numbers_equal_the_loop_in_exact_fractions(limits, seeds):
    positive, negative = limits
    seen: Counter[str] = Counter()
    for seed in seeds:
        case = whole_case(seed, classes=1 + seed % 3)
        slow = Slow(case, exact_overlaps(case), positive, negative)
        compare(case.assign(positive=float(positive), negative=float(negative)), slow, case)
        seen += slow.seen
    often = ["tied by area", "tied by label", "two best", "best below the limit", "best before a larger IoU"]
    often += ["shared best", "left out", "between", "inside", "exactly the lower limit"]
    often += ["exactly the limit", "without overlap"] if positive == Fraction(1, 2) else []
    for what in often:
        assert seen[what] >= (5 if len(seeds) == 240 else 1), (what, seen)


def test_the_networks_own_anchors_equal_the_loop_with_the_papers_limits():
    seen: Counter[str] = Counter()
    for seed in range(36):
        case = real_case(seed)
        slow = Slow(case, float_overlaps(case), 0.5, float(np.float32(0.4)))
        compare(case.assign(), slow, case)
        seen += slow.seen
    for what in ("between", "inside", "best below the limit", "shared best"):
        assert seen[what] > 20, (what, seen)


def one_anchor(boxes, labels=None, **limits: float) -> Assignment:
    """Of 10 by 10 around (5, 5); a second far away, with which nothing overlaps."""
    truth = make_truth(boxes, labels or [0] * len(boxes), [0] * len(boxes))
    return max_iou_assignment(torch.tensor([[5.0, 5], [500, 500]]), torch.full((2, 2), 10.0), truth, 1, **limits)


@pytest.mark.parametrize(
    ("width", "learns", "ignored"), [(5, True, False), (4.95, False, True), (4, False, True), (3.95, False, False)]
)
def test_iou_of_exactly_one_half_is_enough_and_of_exactly_two_fifths_is_no_background(width, learns, ignored):
    centres = torch.tensor([[5.0, 5], [width / 2, 5], [105, 5]])
    sizes = torch.tensor([[10.0, 10], [width, 10], [10, 10]])  # the second is the object's own: the best
    found = max_iou_assignment(centres, sizes, make_truth([[0, 0, width, 10]], [0], [0]), 1)
    assert found.positive.tolist() == [learns, True, False]
    assert found.ignored.tolist() == [[ignored, False, False]]
    assert found.quality.tolist() == pytest.approx([width / 10 if learns else 0, 1, 0])


def test_an_object_too_small_for_any_anchor_keeps_its_best():
    found = one_anchor([[4.0, 4, 5, 5]])
    assert found.positive.tolist() == [True, False]
    assert found.quality.tolist() == pytest.approx([0.01, 0])
    assert not found.ignored.any()


def test_an_object_that_overlaps_nothing_owns_nothing():
    found = one_anchor([[100.0, 100, 120, 120], [10, 0, 20, 10]])  # the second touches
    assert not found.positive.any()
    assert not found.ignored.any()
    assert not found.quality.any()


def test_all_anchors_that_share_an_objects_largest_iou_learn_it():
    centres, sizes = torch.tensor([[4.0, 4], [12, 4], [4, 12], [12, 12], [40, 40]]), torch.full((5, 2), 8.0)
    found = max_iou_assignment(centres, sizes, make_truth([[6.0, 6, 10, 10]], [2], [0]), 1)
    assert found.positive.tolist() == [True] * 4 + [False]
    assert found.quality.tolist() == pytest.approx([4 / 76] * 4 + [0])


def test_a_best_anchor_goes_to_its_object_even_where_another_overlaps_it_more():
    large, small = [0.0, 0, 10, 11], [0.0, 0, 1, 1]
    centres, sizes = torch.tensor([[5.0, 5], [5, 5.5]]), torch.tensor([[10.0, 10], [10, 11]])
    for boxes, expected in (([large, small], [1, 0]), ([small, large], [0, 1])):
        found = max_iou_assignment(centres, sizes, make_truth(boxes, [0, 0], [0, 0]), 1)
        assert found.owner.tolist() == expected  # with the first anchor the large one has 10 / 11
        assert found.quality.tolist() == pytest.approx([0.01, 1])


def test_equal_ious_go_to_the_smaller_object_then_the_label_then_the_coordinates():
    centred, lower = [0.0, 0, 10, 8], [0.0, 2, 10, 10]  # 80 of 100, both the anchor's best
    for boxes, labels, expected in (
        ([[0.0, 0, 10, 12.5], centred], [0, 1], 1),  # 100 of 125 is .8, too
        ([centred, centred], [1, 0], 1),
        ([lower, centred], [0, 0], 1),
        ([lower, centred], [0, 1], 0),
    ):
        for turn in (1, -1):
            found = one_anchor(boxes[::turn], labels[::turn])
            assert found.owner[0].item() == (expected if turn == 1 else 1 - expected)
            assert found.positive.tolist() == [True, False]


@pytest.mark.parametrize("make", [whole_case, real_case])
def test_the_order_of_the_objects_changes_nothing(make):
    total = 0
    for seed in range(24):
        case = make(seed)
        truth, before = case.truth, case.assign()
        order = torch.randperm(len(truth.boxes))
        mixed = Truth(truth.boxes[order], truth.labels[order], truth.image[order], *truth[3:])
        after = case.assign(mixed)
        assert learned(after, mixed) == learned(before, truth)
        assert torch.equal(after.positive, before.positive)
        assert torch.equal(after.ignored, before.ignored)
        assert torch.equal(after.quality, before.quality)
        total += int(before.positive.sum())
    assert total > 100


@pytest.mark.parametrize("make", [whole_case, real_case])
def test_empty_boxes_own_no_anchor_and_change_no_bit(make):
    for seed in range(40):
        case = make(seed)
        before = case.assign()
        for more in (1, 7, 23):
            after = case.assign(padded(case.truth, more, more - 1))
            assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_each_image_learns_what_it_learns_alone():
    for seed in range(20):
        case = whole_case(seed)
        together, count = case.assign(), len(case.centres)
        for image in range(case.batch):
            mine, regions = case.truth.image == image, case.truth.ignored_image == image
            truth = make_truth([], [], [])._replace(
                boxes=case.truth.boxes[mine],
                labels=case.truth.labels[mine],
                image=torch.zeros(int(mine.sum())).long(),
                ignored=case.truth.ignored[regions],
                ignored_image=torch.zeros(int(regions.sum())).long(),
            )
            alone = max_iou_assignment(case.centres, case.sizes, truth, 1)
            part = slice(image * count, (image + 1) * count)
            assert torch.equal(alone.positive, together.positive[part])
            assert torch.equal(alone.quality, together.quality[part])
            assert torch.equal(alone.ignored[0], together.ignored[image])
            whose = mine.nonzero().flatten()[alone.owner[alone.positive]]
            assert torch.equal(whose, together.owner[part][alone.positive])


def test_without_objects_only_regions_are_ignored():
    anchors = make_anchors((64, 96), (8, 16), 0.5)
    truth = make_truth([], [], [], [[0, 0, 48, 64]], [1])
    found = max_iou_assignment(anchors.points, anchors.sizes, truth, 2)
    assert not found.positive.any()
    assert not found.owner.any()
    assert not found.quality.any()
    assert not found.ignored[0].any()
    assert torch.equal(found.ignored[1], anchors.points[:, 0] < 48)
    assert (truth_index(found) == -1).all()


def test_the_index_of_points_says_the_same():
    case = whole_case(9)
    found, slow = case.assign(), Slow(case, exact_overlaps(case), Fraction(1, 2), Fraction(2, 5))
    index = truth_index(found)
    assert {(i, n): int(index[i, n]) for i, n in (index >= 0).nonzero().tolist()} == slow.owner
    assert slow.owner


def test_limits_that_make_no_sense_are_our_own_bug():
    for limits in ({"positive": 0.3, "negative": 0.4}, {"positive": 0.5, "negative": 0.0}):
        with pytest.raises(AssertionError):
            one_anchor([[0.0, 0, 10, 10]], **limits)


def test_operators_are_few_and_none_depends_on_data():
    counts = []
    for objects, batch in ((2, 2), (8, 3), (40, 6), (0, 3)):
        case = real_case(1, batch=batch, objects=objects)
        with Watch() as watch:
            case.assign()
        counts.append(watch.names.total())
    nothing = counts.pop()  # what is empty need not be copied
    assert len(set(counts)) == 1, counts
    assert nothing <= counts[0] < 130, counts


def compiled_once(backend: str) -> None:
    torch._dynamo.reset()
    counter = CompileCounterWithBackend(backend)
    fast = torch.compile(max_iou_assignment, fullgraph=True, dynamic=False, backend=counter)
    for seed, objects in ((1, 3), (4, 29), (7, 0)):  # one size of input, other boxes
        case = real_case(seed, objects=objects)
        truth = padded(case.truth, 32 - objects, 7)
        found = fast(case.centres, case.sizes, truth, case.batch)
        assert all(torch.equal(a, b) for a, b in zip(found, case.assign(), strict=True))
    assert counter.frame_count == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo, of itself
def test_compiled_as_one_graph_once_for_all_batches_of_padded_truth():
    compiled_once("aot_eager")


@pytest.mark.slow
@pytest.mark.exhaustive  # half a minute of g++
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles C++ on a CPU")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_compiled_to_machine_code_it_is_equal():
    compiled_once("inductor")
