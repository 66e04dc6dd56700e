"""How the numbers of each representation are read: rows by what they encode, boxes and spread by hand on two cells."""

import math

import numpy as np
import pytest
import torch

from nanogfl.config import BackboneConfig, HeadConfig, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.model.boxes.anchors import make_anchors
from nanogfl.model.boxes.decode import (
    Grid,
    decode_boxes,
    decode_scores,
    decode_spread,
    gaussian_sigma,
    make_grid,
    soft_positive,
)
from nanogfl.model.detector import build_detector, read_levels
from nanogfl.model.heads.layout import HeadLayout
from tests.representations import DGQP, PER_LEVEL, RETINA, small_head

CELLS = torch.tensor([[4.0, 12.0], [40.0, 24.0]])
TWO = torch.tensor([8.0, 16.0])


def cells(head: HeadConfig) -> Grid:
    """Two points of strides 8 and 16."""
    return Grid(CELLS, TWO, (1, 1), head)


def inverse(distance: float) -> float:
    """What softplus turns into `distance`."""
    return math.log(math.expm1(distance))


# Boxes and spread -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box", ["dirac", "gaussian"])
def test_a_number_a_side_is_its_distance_in_strides(box):
    given = torch.zeros(1, 2, 4, 1 + (box == "gaussian"))
    for point in range(2):
        for side, distance in enumerate((0.5, 1.0, 2.0, 3.0)):
            given[0, point, side, 0] = inverse(distance)
    found = decode_boxes(given, cells(small_head(box)))[0].tolist()
    assert found[0] == pytest.approx([4 - 4, 12 - 8, 4 + 16, 12 + 24], rel=1e-5, abs=1e-5)
    assert found[1] == pytest.approx([40 - 8, 24 - 16, 40 + 32, 24 + 48], rel=1e-5, abs=1e-5)


def test_the_second_number_of_a_gaussian_is_its_deviation_and_no_part_of_the_box():
    given, grid = torch.zeros(1, 2, 4, 2), cells(small_head("gaussian"))
    given[..., 1] = torch.tensor([inverse(v) for v in (0.04, 0.24, 0.49, 1.99)])
    spread = decode_spread(given, grid)[0].tolist()
    assert spread[0] == pytest.approx([8 * v for v in (0.05, 0.25, 0.5, 2.0)], rel=1e-4)
    assert spread[1] == pytest.approx([16 * v for v in (0.05, 0.25, 0.5, 2.0)], rel=1e-4)
    assert torch.equal(decode_boxes(given, grid), decode_boxes(torch.zeros(1, 2, 4, 2), grid))


def test_a_gaussian_side_is_never_surer_than_a_hundredth_of_a_stride():
    given = torch.full((3, 2), -1e4)
    assert gaussian_sigma(given).tolist() == pytest.approx([0.01] * 3)


@pytest.mark.parametrize("width", [0.5, 1.5, 4.0])
@pytest.mark.parametrize("box", ["general", "general+dfl"])
def test_bins_of_another_width_lie_so_far_apart(box, width):
    given, grid = torch.full((1, 2, 4, 6), -1e4), cells(small_head(box, bin_width=width))
    for side, (a, b) in enumerate([(0, 1), (2, 4), (0, 5), (3, 3)]):
        given[:, :, side, [a, b]] = 5.0
    reach = [width * v for v in (0.5, 3.0, 2.5, 3.0)]
    far = [width * v for v in (0.5, 1.0, 2.5, 0.0)]
    for (x, y), stride, box_found, spread in zip(
        CELLS.tolist(),
        TWO.tolist(),
        decode_boxes(given, grid)[0].tolist(),
        decode_spread(given, grid)[0].tolist(),
        strict=True,
    ):
        left, top, right, bottom = (stride * v for v in reach)
        assert box_found == pytest.approx([x - left, y - top, x + right, y + bottom])
        assert spread == pytest.approx([stride * v for v in far])


def test_deltas_are_read_from_their_own_anchors():
    sizes = torch.tensor([[40.0, 10.0], [10.0, 20.0]])
    grid = Grid(CELLS, TWO, (1, 1), RETINA, sizes)
    given = torch.tensor([[0.5, -1.0, math.log(2), math.log(0.4)], [0, 0, 0, math.log(3)]])[None, :, :, None]
    found = decode_boxes(given, grid)[0].tolist()
    assert found[0] == pytest.approx([24 - 40, 2 - 2, 24 + 40, 2 + 2], abs=1e-4)  # centre 24 2, sides 80 4
    assert found[1] == pytest.approx([35, -6, 45, 54], abs=1e-4)
    assert decode_spread(given, grid) is None


def test_boxes_without_a_deviation_say_none():
    for box in ("dirac", "general", "gaussian", "general+dfl"):
        head = small_head(box)
        spread = decode_spread(torch.randn(1, 2, 4, head.side_values), cells(head))
        assert (spread is not None) == head.has_spread == (box != "dirac")
    assert not RETINA.has_spread


def test_some_points_of_a_grid_are_decoded_as_among_all():
    for head in (small_head("gaussian"), small_head("general", bin_width=0.5), RETINA):
        anchors = make_anchors((64, 96), (16, 32), 0.5)
        grid = Grid(anchors.points, anchors.strides, anchors.level_sizes, head, anchors.sizes)
        if head.box != "deltas":
            grid = make_grid((64, 96), (16, 32), 0.5)._replace(head=head)
        given, place = torch.randn(1, len(grid.points), 4, head.side_values), torch.tensor([5, 0, 17, 5])
        some = grid.at(place)
        assert torch.equal(decode_boxes(given[:, place], some), decode_boxes(given, grid)[:, place])
        assert some.level_sizes == ()
        assert some.head is head


def test_soft_positive_is_softplus():
    numbers = np.concatenate([np.linspace(-50, 50, 401), [-1e4, 1e4]]).astype(np.float32)
    found = soft_positive(torch.from_numpy(numbers)).numpy()
    expected = np.maximum(numbers, 0) + np.log1p(np.exp(-np.abs(numbers.astype(np.float64))))
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1.5e-7)
    assert (found >= 0).all()


def test_soft_positive_has_softpluss_gradient_and_takes_half_precision():
    numbers = torch.tensor([-50.0, -20, -3, -0.1, 0.1, 3, 20, 50]).requires_grad_()
    (slope,) = torch.autograd.grad(soft_positive(numbers).sum(), numbers)
    torch.testing.assert_close(slope, numbers.detach().sigmoid())
    half = numbers.detach().bfloat16()
    assert torch.equal(soft_positive(half), soft_positive(half.float()))


def test_a_quality_multiplies_the_scores_of_all_classes_of_its_point():
    logits, quality = torch.randn(2, 5, 3), torch.randn(2, 5)
    found = decode_scores(logits, quality)
    for b, n, c in np.ndindex(2, 5, 3):
        score = 1 / (1 + math.exp(-logits[b, n, c])) / (1 + math.exp(-quality[b, n]))
        assert found[b, n, c].item() == pytest.approx(score, rel=1e-5)
    assert torch.equal(decode_scores(logits, None), logits.sigmoid())
    assert decode_scores(logits.bfloat16(), quality.bfloat16()).dtype == torch.float32


# Rows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "split"),
    [
        (small_head("dirac"), [3, 4]),
        (small_head("gaussian", "iou"), [3, 8, 1]),
        (small_head("general", "centerness"), [3, 24, 1]),
        (small_head("general+dfl", "iou-guided"), [3, 24]),
        (DGQP["general, DGQP"], [3, 24]),  # its quality is made of the box
        (RETINA, [27, 36]),
    ],
)
def test_how_many_rows_of_what_a_head_has(head, split):
    layout = HeadLayout.of(head, 3)
    assert layout.split == split == [layout.class_rows, layout.box_rows, 1][: len(split)]
    assert layout.rows == sum(split)


LEVELS = [(4, 6), (2, 3)]


def test_every_row_of_a_level_with_anchors_is_where_its_anchor_and_class_say():
    """The k-th anchor of a point has rows k C ... k C + C - 1, and among the box's k 4 ... k 4 + 3."""
    layout, classes = HeadLayout.of(RETINA, 3), 3
    levels = []
    for level, (height, width) in enumerate(LEVELS):
        x = torch.zeros(2, layout.rows, height, width)
        for b, y, z in np.ndindex(2, height, width):
            place = 1e6 * b + 1e5 * level + 1e4 * y + 1e3 * z
            for anchor in range(9):
                for c in range(classes):
                    x[b, anchor * classes + c, y, z] = place + 10 * anchor + c
                for side in range(4):
                    x[b, 9 * classes + anchor * 4 + side, y, z] = place + 10 * anchor + 5 + side
        levels.append(x)
    sizes = make_anchors((32, 48), (8, 16), 0.0).level_sizes
    assert sizes == (9 * 24, 9 * 6)
    found = read_levels(levels, sizes, layout)
    assert found.cls_logits.shape == (2, 270, 3)
    assert found.box_pred.shape == (2, 270, 4, 1)
    assert found.quality_logits is None
    for b in range(2):
        n = 0
        for level, (height, width) in enumerate(LEVELS):
            for y, z in np.ndindex(height, width):
                for anchor in range(9):
                    base = 1e6 * b + 1e5 * level + 1e4 * y + 1e3 * z + 10 * anchor
                    assert found.cls_logits[b, n].tolist() == [base, base + 1, base + 2]
                    assert found.box_pred[b, n, :, 0].tolist() == [base + 5, base + 6, base + 7, base + 8]
                    n += 1


@pytest.mark.parametrize("classes", [1, 3])
def test_every_row_of_a_level_with_a_quality_is_where_its_kind_says(classes):
    layout = HeadLayout.of(small_head("gaussian", "iou"), classes)
    levels = []
    for level, (height, width) in enumerate(LEVELS):
        rows = torch.arange(layout.rows).view(1, -1, 1, 1) + 100 * torch.arange(height * width).view(height, width)
        levels.append(torch.cat([rows + 1e4 * level + 1e5 * b for b in range(2)]))
    found = read_levels(levels, (24, 6), layout)
    for b, n in np.ndindex(2, 30):
        base = 1e5 * b + (100 * n if n < 24 else 1e4 + 100 * (n - 24))
        assert found.cls_logits[b, n].tolist() == [base + c for c in range(classes)]
        assert found.box_pred[b, n].flatten().tolist() == [base + classes + i for i in range(8)]
        assert found.quality_logits[b, n].item() == base + classes + 8


def detector_with(head: HeadConfig):
    backbone, neck = BackboneConfig("0.5x"), NeckConfig(channels=16)
    if head.kind == "shared":
        backbone, neck = BackboneConfig(kind="resnet18"), NeckConfig("fpn", 64, extra_level=False)
    return build_detector(ModelConfig(InputSpec((64, 96)), backbone=backbone, neck=neck, head=head), 3)


SOME = {
    **{name: PER_LEVEL[name] for name in ("dirac, none", "gaussian, iou", "general, centerness-guided")},
    "shared, gaussian, centerness": HeadConfig(1, kind="shared", box="gaussian", quality="centerness"),
    "RetinaNet": RETINA,
}


@pytest.mark.parametrize("head", SOME.values(), ids=SOME)
def test_a_fresh_detector_starts_at_the_prior_and_at_middling_answers(head):
    detector = detector_with(head).eval()
    with torch.no_grad():
        found = detector(torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8))
    count = len(detector.grid.points)
    assert found.cls_logits.shape == (2, count, 3)
    assert found.box_pred.shape == (2, count, 4, head.side_values)
    assert (found.quality_logits is not None) == head.has_quality_branch
    assert decode_scores(found.cls_logits, None).median().item() == pytest.approx(0.01, rel=0.2)
    if found.quality_logits is not None:
        assert found.quality_logits.sigmoid().median().item() == pytest.approx(0.5, abs=0.05)
    assert decode_boxes(found.box_pred, detector.grid).isfinite().all()


def test_a_shared_heads_quality_is_seen_by_the_boxs_tower():
    """And not scaled: a level's scale is of the box."""
    detector = detector_with(SOME["shared, gaussian, centerness"]).train()
    images = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    detector(images).quality_logits.sum().backward()
    touched = {name for name, p in detector.head.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("box_tower") for name in touched)
    assert not any(name.startswith(("class_tower", "class_output", "box_output", "scales")) for name in touched)
