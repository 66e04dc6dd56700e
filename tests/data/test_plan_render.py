"""Augmentation: a pure function of its place, and boxes that go where their pixels go."""

import cv2
import numpy as np
import pytest

from nanogfl.config import AugmentConfig
from nanogfl.contract.preprocess import InputSpec, preprocess
from nanogfl.data.plan import Plan, draw_plan, identity_plan
from nanogfl.data.render import move_boxes, render, render_image

SPEC = InputSpec((96, 160))
STILL = AugmentConfig((1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
NO_BOXES = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_)


def draw(hw=(70, 90), augment=None, *, spec=SPEC, seed=0, epoch=0, position=0) -> Plan:
    return draw_plan(hw, spec, augment or AugmentConfig(), seed=seed, epoch=epoch, position=position)


def same(a: Plan, b: Plan) -> bool:
    return np.array_equal(a.matrix, b.matrix) and np.array_equal(a.colour, b.colour)


def smooth_picture(hw, seed=0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (hw[0] // 8 + 2, hw[1] // 8 + 2, 3)).astype(np.uint8)
    return cv2.resize(noise, (hw[1], hw[0]), interpolation=cv2.INTER_CUBIC)


def test_the_same_place_gives_the_same_plan_and_any_other_place_another():
    assert same(draw(seed=3, epoch=4, position=5), draw(seed=3, epoch=4, position=5))
    places = [(s, e, p) for s in range(3) for e in range(3) for p in range(3)]
    plans = [draw(seed=s, epoch=e, position=p) for s, e, p in places]
    for i, first in enumerate(plans):
        assert not any(np.allclose(first.matrix, other.matrix) for other in plans[:i])
        assert not any(np.allclose(first.colour, other.colour) for other in plans[:i])


def test_a_plan_does_not_depend_on_the_plans_drawn_before():
    alone = draw(epoch=2, position=9)
    for position in range(9):
        draw(epoch=2, position=position)
    np.random.rand(5)
    assert same(draw(epoch=2, position=9), alone)


def test_the_first_plan_of_an_epoch_does_not_share_its_draws_with_the_epochs_order():
    order = np.random.default_rng((0, 0)).random()
    chance = AugmentConfig((1.0, np.e), 0, 0, 0, 0, 0, 0, 0)
    zoom = np.log(draw(SPEC.hw, chance).matrix[0, 0])
    assert zoom != pytest.approx(order)


def test_a_changed_setting_leaves_the_other_draws_alone():
    plain, flipped = draw(), draw(augment=AugmentConfig(flip_vertical=1.0))
    np.testing.assert_allclose(flipped.matrix[0], plain.matrix[0])
    np.testing.assert_allclose(flipped.matrix[1, 1], -plain.matrix[1, 1])
    np.testing.assert_array_equal(flipped.colour, plain.colour)


def test_without_augmentation_the_plan_is_validations():
    for resize in ("stretch", "letterbox"):
        spec = InputSpec((96, 160), resize)
        plan = draw((333, 201), STILL, spec=spec)
        np.testing.assert_allclose(plan.matrix, identity_plan((333, 201), spec).matrix, atol=1e-12)
        np.testing.assert_allclose(plan.colour, np.eye(3, 4), atol=1e-5)


def test_ranges_are_kept_and_reached():
    augment = AugmentConfig((0.5, 2.0), 0.2, 0.25, 0.5)
    plans = [
        draw(SPEC.hw, augment, position=p) for p in range(400)
    ]  # a source of the input's size: scales are the plan's own
    x, y = (np.array([p.matrix[i, i] for p in plans]) for i in (0, 1))
    zoom, aspect = np.sqrt(np.abs(x * y)), np.abs(x / y)
    assert 0.5 <= zoom.min() < 0.53
    assert 1.9 < zoom.max() <= 2.0
    assert np.median(zoom) == pytest.approx(1.0, abs=0.12)  # log-uniform
    assert 1 / 1.2 - 1e-9 <= aspect.min() < 0.85
    assert 1.18 < aspect.max() <= 1.2 + 1e-9
    assert (y > 0).all()
    assert np.mean(x < 0) == pytest.approx(0.5, abs=0.08)
    centre = np.array([p.matrix @ [80, 48, 1] for p in plans])
    assert np.abs(centre - [80, 48]).max(axis=0).tolist() == pytest.approx([40, 24], rel=0.03)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("source_hw", [(70, 90), (200, 150), (96, 160), (333, 401)])
def test_the_identity_plan_renders_what_the_device_sees(resize, source_hw):
    spec = InputSpec((96, 160), resize)
    frame = smooth_picture(source_hw)
    expected, placement = preprocess(frame, spec)
    found = render_image(frame, identity_plan(source_hw, spec), spec)
    assert found.shape == expected.shape == (96, 160, 3)
    difference = np.abs(found.astype(int) - expected.astype(int))
    height, width = round(source_hw[0] * placement.scale_y), round(source_hw[1] * placement.scale_x)
    border = 2 * int(
        np.ceil(max(placement.scale_x, placement.scale_y))
    )  # the warp blends the outermost pixels with the padding
    inner = difference[border : height - border, border : width - border]
    assert inner.mean() < 0.5
    assert inner.max() <= 12
    assert not difference[height + border :].any()
    assert not difference[:, width + border :].any()


def test_what_the_picture_does_not_cover_is_the_mean():
    spec = InputSpec((96, 160), mean=(10.0, 20.0, 30.4))
    small = draw(augment=AugmentConfig((0.5, 0.5), 0, 0, 0, 0, 0, 0, 0), spec=spec)
    image = render_image(np.full((70, 90, 3), 200, np.uint8), small, spec)
    assert image[2, 2].tolist() == [10, 20, 30]
    assert image[-2, -2].tolist() == [10, 20, 30]
    assert image[48, 80].tolist() == [200, 200, 200]


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("flips", [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_boxes_follow_their_pixels(resize, flips):
    """A white box painted on black comes back where move_boxes says, to half a pixel."""
    spec = InputSpec((192, 320), resize)
    augment = AugmentConfig(flip=flips[0], flip_vertical=flips[1], brightness=0, contrast=0, saturation=0)
    numbers, checked = np.random.default_rng(1), 0
    for position in range(40):
        hw = (int(numbers.integers(100, 300)), int(numbers.integers(100, 300)))
        x1, y1 = int(numbers.integers(5, hw[1] // 2)), int(numbers.integers(5, hw[0] // 2))
        x2, y2 = x1 + int(numbers.integers(12, hw[1] // 3)), y1 + int(numbers.integers(12, hw[0] // 3))
        frame = np.zeros((*hw, 3), np.uint8)
        frame[y1:y2, x1:x2] = 255
        plan = draw(hw, augment, spec=spec, position=position)
        assert (plan.matrix[0, 0] < 0, plan.matrix[1, 1] < 0) == (flips[0] > 0, flips[1] > 0)
        box = move_boxes(np.array([[x1, y1, x2, y2]], np.float32), plan)[0]
        if (box[:2] < 3).any() or (box[2:] > [317, 189]).any():
            continue
        # coverage by area: sums of a row and a column of the picture, without padding's grey
        grey = render_image(frame, plan, InputSpec(spec.hw, resize, mean=(0.0, 0.0, 0.0)))[..., 0] / 255.0
        row, column = grey[round((box[1] + box[3]) / 2) - 1], grey[:, round((box[0] + box[2]) / 2) - 1]
        for line, low, high in ((row, box[0], box[2]), (column, box[1], box[3])):
            position_of_pixels = np.arange(len(line)) + 0.5
            assert line.sum() == pytest.approx(high - low, abs=0.5)
            assert (line * position_of_pixels).sum() / line.sum() == pytest.approx((low + high) / 2, abs=0.25)
        checked += 1
    assert checked >= 8


def test_a_flip_keeps_left_below_right():
    flip = draw((96, 160), AugmentConfig((1.0, 1.0), 0, 0, 1.0, 1.0, 0, 0, 0))
    boxes = move_boxes(np.array([[10, 20, 40, 50]], np.float32), flip)
    assert boxes.tolist() == [[120, 46, 150, 76]]  # 160 - 40, 96 - 50, 160 - 10, 96 - 20


def shift(x: float, y: float) -> Plan:
    return Plan(np.array([[1.0, 0, x], [0, 1, y]]), np.eye(3, 4, dtype=np.float32))


def place(box, plan: Plan, crowd=False, keep_visible=0.25):
    frame = np.zeros((96, 160, 3), np.uint8)
    arrays = np.array([box], np.float32), np.array([2]), np.array([crowd])
    return render(frame, *arrays, plan, SPEC, keep_visible)


def test_an_object_inside_stays_and_one_partly_outside_is_clipped():
    sample = place([10, 20, 50, 40], shift(-20, 0))  # three quarters are left
    assert sample.boxes.tolist() == [[0, 20, 30, 40]]
    assert sample.labels.tolist() == [2]
    assert sample.ignored.shape == (0, 4)


def test_an_object_mostly_outside_becomes_an_ignored_region():
    sample = place([10, 20, 50, 40], shift(-41, 0))  # 9 of 40 are left: less than a quarter
    assert (sample.boxes.shape, sample.labels.shape) == ((0, 4), (0,))
    assert sample.ignored.tolist() == [[0, 20, 9, 40]]
    kept = place([10, 20, 50, 40], shift(-40, 0))  # exactly a quarter
    assert kept.boxes.tolist() == [[0, 20, 10, 40]]


def test_an_object_wholly_outside_is_gone():
    sample = place([10, 20, 50, 40], shift(0, 76))
    assert len(sample.boxes) == len(sample.ignored) == 0


def test_a_crowd_region_becomes_an_ignored_region():
    sample = place([10, 20, 50, 40], shift(0, 0), crowd=True)
    assert len(sample.boxes) == 0
    assert sample.ignored.tolist() == [[10, 20, 50, 40]]


def test_a_sliver_is_ignored_not_learned():
    sample = place([10, 20, 10.9, 60], shift(0, 0))
    assert len(sample.boxes) == 0
    assert len(sample.ignored) == 1


def test_an_image_without_objects_has_empty_arrays_of_the_right_types():
    sample = render(np.zeros((50, 60, 3), np.uint8), *NO_BOXES, draw((50, 60)), SPEC, 0.25)
    assert (sample.boxes.shape, sample.ignored.shape, sample.labels.dtype) == ((0, 4), (0, 4), np.int64)


def test_colour_is_saturation_about_luma_then_contrast_about_grey_then_brightness():
    frame = smooth_picture((96, 160), 5)
    augment = AugmentConfig((1.0, 1.0), 0, 0, 0, 0, 0.1, 0.2, 0.3)
    plan = draw((96, 160), augment, position=3)
    found = render_image(frame, plan, SPEC)
    # undo nothing: recover the three factors from the matrix and apply them in words
    gains, offset = plan.colour[:, :3].astype(float), float(plan.colour[0, 3])
    contrast = gains.sum(axis=1)  # a grey pixel has no saturation
    assert contrast == pytest.approx([contrast[0]] * 3, rel=1e-5)
    saturation = (gains[0, 0] - gains[1, 0]) / contrast[0]
    brightness = (offset - 127.5 * (1 - contrast[0])) / 255
    assert 0.8 <= contrast[0] <= 1.2
    assert 0.7 <= saturation <= 1.3
    assert -0.1 <= brightness <= 0.1
    pixels = frame.astype(float)
    luma = (pixels @ [0.114, 0.587, 0.299])[..., None]
    expected = ((luma + saturation * (pixels - luma)) - 127.5) * contrast[0] + 127.5 + 255 * brightness
    assert np.abs(found - expected.clip(0, 255)).max() <= 1.01
