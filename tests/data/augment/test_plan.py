"""Plans: pure functions of their place, whose ranges and probabilities are those of the settings."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nanogfl.config import AugmentConfig
from nanogfl.contract.input_spec import InputSpec, place
from nanogfl.data.augment.plan import CENTRE, LARGEST_PASTED, MIX_WEIGHT, draw_plans, is_plain
from tests.data.flat import equal, index_of, plans_of, record, still

SPEC = InputSpec((96, 160))
EVERYTHING = AugmentConfig(
    rotate=20, shear=10, perspective=0.3, flip_vertical=0.5, mosaic=0.5, mixup=0.5, copy_paste=0.5
)
OF_INPUT_SIZE = index_of(record(0, SPEC.hw, [[10, 20, 50, 60]]))


def four_images(objects: bool = True):
    boxes = [[[5, 5, 30, 40], [20, 20, 60, 50]], [], [[0, 0, 40, 40]], [[10, 10, 30, 30]] * 3]
    sizes = [(70, 90), (200, 150), (96, 160), (333, 401)]
    return index_of(*(record(n, hw, boxes[n] if objects else []) for n, hw in enumerate(sizes)))


def test_a_plan_depends_on_its_place_alone_not_on_the_batch_around_it():
    index = four_images()
    own, positions = np.arange(64) % 4, np.arange(64) + 1000

    def draw(rows):
        return draw_plans(index, own[rows], positions[rows], SPEC, EVERYTHING, seed=3, epoch=2, plain=False)

    whole = draw(slice(None))
    order = np.random.default_rng(0).permutation(64)
    assert equal(draw(order), [part[order] for part in whole])
    for rows in (slice(0, 1), slice(5, 12), slice(63, 64)):
        assert equal(draw(rows), [part[rows] for part in whole])


def test_a_plan_is_the_same_in_another_process():
    program = (
        "import hashlib, numpy as np\n"
        "from tests.data.augment.test_plan import EVERYTHING, SPEC, four_images, plans_of\n"
        "plans = plans_of(four_images(), SPEC, EVERYTHING, seed=1, epoch=7)\n"
        "print(hashlib.sha256(b''.join(part.tobytes() for part in plans)).hexdigest())"
    )
    import hashlib

    plans = plans_of(four_images(), SPEC, EVERYTHING, seed=1, epoch=7)
    here = hashlib.sha256(b"".join(part.tobytes() for part in plans)).hexdigest()
    root = Path(__file__).parents[3]
    there = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_seeds_epochs_and_positions_give_other_plans():
    index = OF_INPUT_SIZE
    matrices = np.concatenate(
        [plans_of(index, SPEC, AugmentConfig(), 8, seed=s, epoch=e).matrix[:, 0] for s in range(3) for e in range(3)]
    )
    colours = np.concatenate(
        [plans_of(index, SPEC, AugmentConfig(), 8, seed=s, epoch=e).colour for s in range(3) for e in range(3)]
    )
    for parts in (matrices, colours):
        flat = parts.reshape(72, -1)
        distance = np.abs(flat[:, None] - flat).max(axis=-1) + np.eye(72)
        assert distance.min() > 1e-4


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_without_augmentation_the_plan_is_validations(resize):
    spec, index = InputSpec((96, 160), resize), four_images()
    plans = plans_of(index, spec, still(), 4)
    for n in range(4):
        placement = place(tuple(index.hw[n]), spec)
        expected = np.diag([placement.scale_x, placement.scale_y, 1])
        np.testing.assert_allclose(plans.matrix[n, 0], expected, atol=1e-12)
    np.testing.assert_allclose(plans.colour, np.broadcast_to(np.eye(3, 4), (4, 3, 4)), atol=1e-5)
    assert plans.index[:, 0].tolist() == [0, 1, 2, 3]
    assert (plans.index[:, 1:] == -1).all()
    assert not plans.mix.any()
    assert (plans.window[:, 0] == [0, 0, 160, 96]).all()


def test_ranges_are_kept_and_reached():
    plans = plans_of(OF_INPUT_SIZE, SPEC, AugmentConfig((0.5, 2.0), 0.2, 0.25, flip=0.5), 2000)
    # a source of the input's size: scales are the plan's own
    matrix = plans.matrix[:, 0]
    x, y = matrix[:, 0, 0], matrix[:, 1, 1]
    zoom, aspect = np.sqrt(np.abs(x * y)), np.abs(x / y)
    assert 0.5 <= zoom.min() < 0.51
    assert 1.97 < zoom.max() <= 2.0
    assert np.median(zoom) == pytest.approx(1.0, abs=0.06)  # log-uniform
    assert 1 / 1.2 - 1e-9 <= aspect.min() < 0.84
    assert 1.19 < aspect.max() <= 1.2 + 1e-9
    assert (y > 0).all()
    assert np.mean(x < 0) == pytest.approx(0.5, abs=0.05)
    centre = (matrix @ [80, 48, 1])[:, :2]
    assert np.abs(centre - [80, 48]).max(axis=0).tolist() == pytest.approx([40, 24], rel=0.01)


def test_turns_and_slants_keep_their_ranges_and_reach_them():
    turned = plans_of(OF_INPUT_SIZE, SPEC, still(rotate=30), 1000).matrix[:, 0]
    angle = np.rad2deg(np.arctan2(turned[:, 1, 0], turned[:, 0, 0]))
    assert np.abs(angle).max() == pytest.approx(30, abs=0.3)
    assert angle.mean() == pytest.approx(0, abs=3)
    np.testing.assert_allclose(turned[:, :2, :2] @ turned[:, :2, :2].transpose(0, 2, 1), [np.eye(2)] * 1000, atol=1e-12)
    np.testing.assert_allclose((turned @ [80, 48, 1])[:, :2], [[80, 48]] * 1000, atol=1e-9)
    slanted = plans_of(OF_INPUT_SIZE, SPEC, still(shear=40), 1000).matrix[:, 0]
    assert np.abs(slanted[:, 0, 1]).max() == pytest.approx(np.tan(np.deg2rad(40)), rel=0.02)
    assert np.abs(slanted[:, 1, 0]).max() == pytest.approx(np.tan(np.deg2rad(40)), rel=0.02)
    np.testing.assert_allclose(np.linalg.det(slanted), 1)  # the area stays, and it can be undone


@pytest.mark.parametrize(("perspective", "resize"), [(0.2, "stretch"), (0.9, "letterbox")])
def test_perspective_keeps_every_corner_before_the_camera_and_reaches_its_share(perspective, resize):
    spec, index = InputSpec((96, 160), resize), four_images()
    wild = AugmentConfig((0.2, 5.0), 0.5, 1.0, rotate=180, shear=60, perspective=perspective, mosaic=0.5)
    plans = plans_of(index, spec, wild, 1000)
    rows = plans.index >= 0
    matrix, hw = plans.matrix[rows], index.hw[plans.index[rows]]
    assert len(matrix) > 2000
    for x, y in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = np.stack([x * hw[:, 1], y * hw[:, 0], np.ones(len(hw))], axis=1)
        assert np.einsum("nk,nk->n", matrix[:, 2], corner).min() > 1 - perspective
    assert np.linalg.det(matrix / matrix[:, 2:, 2:]).all()
    # of the picture alone, tilted along x: the heights of its left and right side
    tilted = plans_of(OF_INPUT_SIZE, SPEC, still(perspective=perspective), 1000).matrix[:, 0]
    left, right = (np.einsum("nk,k->n", tilted[:, 2], [x, 48, 1]) for x in (0, 160))
    ratio = np.minimum(left, right) / np.maximum(left, right)
    assert ratio.min() >= 1 - perspective
    assert ratio.min() == pytest.approx((1 - perspective / 2) / (1 + perspective / 2), abs=0.01)


CHANGES = [
    {"flip_vertical": 1.0},
    {"brightness": 0.5},
    {"rotate": 10.0},
    {"perspective": 0.1},
    {"mosaic": 1.0},
    {"mixup": 1.0},
    {"copy_paste": 1.0},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_a_changed_setting_leaves_the_other_draws_alone(change):
    """Each change is seen where it should be, and nowhere else."""
    index = four_images()
    before, after = (plans_of(index, SPEC, augment) for augment in (AugmentConfig(), AugmentConfig(**change)))
    key = next(iter(change))
    assert np.array_equal(before.colour, after.colour) == (key != "brightness")
    assert np.array_equal(before.matrix[:, 0], after.matrix[:, 0]) == (key in ("brightness", "mixup", "copy_paste"))
    assert np.array_equal(before.index[:, 0], after.index[:, 0])
    assert np.array_equal(before.mix, after.mix) == (key != "mixup")
    if key == "flip_vertical":
        np.testing.assert_array_equal(before.matrix[:, 0, 0], after.matrix[:, 0, 0])
        np.testing.assert_array_equal(before.matrix[:, 0, 1, 1], -after.matrix[:, 0, 1, 1])


def test_mixup_and_copy_paste_do_not_change_a_mosaic():
    index = four_images()
    alone = plans_of(index, SPEC, AugmentConfig(mosaic=0.7))
    together = plans_of(index, SPEC, AugmentConfig(mosaic=0.7, mixup=0.5, copy_paste=0.5))
    for part in ("index", "matrix", "window", "only"):
        np.testing.assert_array_equal(getattr(alone, part)[:, :4], getattr(together, part)[:, :4])


def test_probabilities_are_reached_and_independent_of_each_other():
    plans = plans_of(four_images(), SPEC, EVERYTHING, 4000)
    mosaic, pasted, mixed = plans.index[:, 1] >= 0, (plans.only >= 0).any(axis=1), plans.mix > 0
    for flag in (mosaic, pasted, mixed):
        assert flag.mean() == pytest.approx(0.5, abs=0.04)
    for one, other in ((mosaic, pasted), (mosaic, mixed), (pasted, mixed)):
        assert (one & other).mean() == pytest.approx(0.25, abs=0.035)
    assert np.array_equal(plans.index[:, -1] >= 0, mixed)
    low, high = MIX_WEIGHT
    assert low <= plans.mix[mixed].min() < low + 0.01
    assert high - 0.01 < plans.mix[mixed].max() <= high
    amounts = np.bincount((plans.only >= 0).sum(axis=1)[pasted], minlength=4)
    assert amounts[0] == 0
    assert amounts[1:] / pasted.sum() == pytest.approx([1 / 3] * 3, abs=0.05)


def test_a_plain_epoch_has_neither_mosaic_nor_mixup_nor_copy_paste_and_else_the_same_draws():
    index = four_images()
    plain = plans_of(index, SPEC, EVERYTHING, plain=True)
    without = plans_of(index, SPEC, replace(EVERYTHING, mosaic=0, mixup=0, copy_paste=0))
    assert equal(plain, without)
    assert plain.index.shape[1] == 2
    assert (plain.index[:, 1] == -1).all()


@pytest.mark.parametrize(
    ("share", "epochs", "first"),
    [(0.15, 20, 17), (0.0, 20, 20), (1.0, 20, 0), (0.15, 3, 2), (0.15, 2, 1), (0.15, 1, 1)],
)
def test_the_plain_epochs_are_the_last_ones(share, epochs, first):
    plain = [is_plain(AugmentConfig(plain_end=share), epoch, epochs) for epoch in range(epochs)]
    assert plain == [False] * first + [True] * (epochs - first)


def test_a_mosaics_windows_lie_side_by_side_around_a_centre_in_the_middle():
    plans = plans_of(four_images(), SPEC, AugmentConfig(mosaic=1.0), 1000)
    painted = np.zeros((1000, *SPEC.hw), np.int8)
    for b, windows in enumerate(plans.window[:, :4].tolist()):
        for x1, y1, x2, y2 in windows:
            painted[b, y1:y2, x1:x2] += 1
    assert (painted == 1).all()
    centre = plans.window[:, 0, 2:] / [160, 96]
    assert centre.min(axis=0) == pytest.approx([CENTRE[0]] * 2, abs=0.01)
    assert centre.max(axis=0) == pytest.approx([CENTRE[1]] * 2, abs=0.01)
    others = np.bincount(plans.index[:, 1:4].ravel(), minlength=4) / 3000
    assert others == pytest.approx([0.25] * 4, abs=0.03)


def test_an_image_in_a_mosaic_lies_anywhere_in_its_windows_slack_smaller_or_larger():
    """Its hull is inside of the window along each side where it is smaller, and covers it where it is larger."""
    index = OF_INPUT_SIZE
    augment = still(mosaic=1.0, mosaic_scale=(0.2, 1.5), rotate=15, perspective=0.2)
    plans = plans_of(index, SPEC, augment, 500)
    corners = np.array([[0, 0, 1], [160, 0, 1], [160, 96, 1], [0, 96, 1]])
    moved = plans.matrix[:, :4] @ corners.T
    moved = moved[..., :2, :] / moved[..., 2:, :]
    low, high = moved.min(axis=-1), moved.max(axis=-1)
    window = plans.window[:, :4].astype(float)
    slack = (window[..., 2:] - window[..., :2]) - (high - low)
    share = (low - window[..., :2]) / slack  # 0 .. 1 for either sign
    assert share.min() > -1e-9
    assert share.max() < 1 + 1e-9
    for sign in (slack > 1, slack < -1):
        assert sign.sum() > 300
        assert share[sign].mean() == pytest.approx(0.5, abs=0.06)
        assert share[sign].std() == pytest.approx(np.sqrt(1 / 12), abs=0.03)


def test_pasted_objects_are_whole_large_enough_no_crowd_and_exactly_their_window():
    boxes = [[5, 5, 30, 40], [0, 0, 1, 50], [10, 10, 60, 60], [0.25, 0.5, 89.75, 69.5]]  # the second one is tiny
    index = index_of(record(0, (70, 90), [[3, 3, 4, 4]]), record(1, (70, 90), boxes, crowd=[False, False, True, False]))
    plans = plans_of(index, SPEC, AugmentConfig(copy_paste=1.0), 500)
    b, layer = np.nonzero(plans.only >= 0)
    assert len(b) > 800
    assert set(plans.only[b, layer]) == {0, 3}
    assert set(plans.index[b, layer]) == {1}
    window = plans.window[b, layer]
    for matrix, only, sides in zip(plans.matrix[b, layer], plans.only[b, layer], window, strict=True):
        x1, y1, x2, y2 = boxes[only]
        moved = np.sort((matrix @ [[x1, x2], [y1, y2], [1, 1]])[:2])
        np.testing.assert_allclose(moved, sides.reshape(2, 2).T, atol=1e-9)
    assert (window[:, :2] >= 0).all()
    assert (window[:, 2:] <= [160, 96]).all()
    size = window[:, 2:] - window[:, :2]
    assert (size <= LARGEST_PASTED * np.array([160, 96])).all()
    assert size.max(axis=0).tolist() == [80, 48]
    assert (plans.window[b, layer, :2].max(axis=0) > [120, 60]).all()  # anywhere
    assert np.mean(plans.matrix[b, layer, 0, 0] < 0) == pytest.approx(0.5, abs=0.08)


def test_nothing_is_pasted_where_no_object_can_be():
    plans = plans_of(four_images(objects=False), SPEC, AugmentConfig(copy_paste=1.0))
    assert (plans.only == -1).all()
    assert (plans.index[:, 1:] == -1).all()


def test_one_image_is_enough_for_everything():
    every = AugmentConfig(mosaic=1.0, mixup=1.0, copy_paste=1.0)
    plans = plans_of(OF_INPUT_SIZE, SPEC, every)
    assert set(plans.index[:, [0, 1, 2, 3, 4, 7]].ravel()) == {0}


def test_colour_is_saturation_about_luma_then_contrast_about_grey_then_brightness():
    augment = AugmentConfig(brightness=0.1, contrast=0.2, saturation=0.3)
    found = []
    for colour in plans_of(OF_INPUT_SIZE, SPEC, augment, 1000).colour.astype(float):
        # recover the three factors from the matrix and apply them in words
        gains, offset = colour[:, :3], colour[0, 3]
        contrast = gains.sum(axis=1)  # a grey pixel has no saturation
        assert contrast == pytest.approx([contrast[0]] * 3, rel=1e-5)
        saturation = (gains[0, 0] - gains[1, 0]) / contrast[0]
        brightness = (offset - 127.5 * (1 - contrast[0])) / 255
        pixel = np.array([20.0, 130.0, 220.0])
        luma = pixel @ [0.114, 0.587, 0.299]
        expected = ((luma + saturation * (pixel - luma)) - 127.5) * contrast[0] + 127.5 + 255 * brightness
        np.testing.assert_allclose(gains @ pixel + colour[:, 3], expected, rtol=1e-5)
        found.append((brightness, contrast[0], saturation))
    np.testing.assert_allclose(np.min(found, axis=0), [-0.1, 0.8, 0.7], atol=0.003)
    np.testing.assert_allclose(np.max(found, axis=0), [0.1, 1.2, 1.3], atol=0.003)
