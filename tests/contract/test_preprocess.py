"""Frame -> network input and the way back, against arithmetic done by hand."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogfl.contract.input_spec import InputSpec, place
from nanogfl.contract.preprocess import preprocess


def test_stretch_scales_each_side_by_its_own_factor():
    placement = place((100, 400), InputSpec(hw=(64, 96), resize="stretch"))
    assert (placement.scale_x, placement.scale_y) == (96 / 400, 64 / 100)


def test_letterbox_uses_one_scale_and_whole_pixels():
    # 64/101 = .634 and 96/300 = .32: the width decides; 101 * .32 = 32.32 becomes 32 rows
    placement = place((101, 300), InputSpec(hw=(64, 96), resize="letterbox"))
    assert (placement.scale_x, placement.scale_y) == (96 / 300, 32 / 101)


def test_letterbox_pads_right_and_below_with_the_rounded_mean():
    spec = InputSpec(hw=(64, 96), resize="letterbox", mean=(10.4, 20.5001, 30.0))
    wide, _ = preprocess(np.full((32, 96, 3), 200, np.uint8), spec)
    assert (wide[:32] == 200).all()
    assert (wide[32:] == (10, 21, 30)).all()
    tall, _ = preprocess(np.full((128, 64, 3), 200, np.uint8), spec)
    assert (tall[:, :32] == 200).all()
    assert (tall[:, 32:] == (10, 21, 30)).all()


def test_a_frame_of_the_input_size_passes_unchanged():
    frame = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    for resize in ("stretch", "letterbox"):
        image, placement = preprocess(frame, InputSpec(hw=(64, 96), resize=resize))
        assert np.array_equal(image, frame)
        assert (placement.scale_x, placement.scale_y) == (1.0, 1.0)


def test_halving_is_bilinear_without_antialiasing():
    # at a scale of exactly 1/2 a bilinear sample lies in the middle of 2 x 2 pixels: their mean
    frame = np.random.default_rng(1).integers(0, 256, (128, 192, 3), dtype=np.uint8)
    image, _ = preprocess(frame, InputSpec(hw=(64, 96)))
    mean = frame.reshape(64, 2, 96, 2, 3).astype(np.float64).mean(axis=(1, 3))
    assert np.abs(image - mean).max() <= 1
    # at 1/4 it is still the middle 2 x 2 of the 4 x 4, not the mean of all sixteen
    frame = np.random.default_rng(2).integers(0, 256, (256, 384, 3), dtype=np.uint8)
    image, _ = preprocess(frame, InputSpec(hw=(64, 96)))
    middle = frame.reshape(64, 4, 96, 4, 3)[:, 1:3, :, 1:3].astype(np.float64).mean(axis=(1, 3))
    assert np.abs(image - middle).max() <= 1


def test_a_mark_in_the_frame_lands_where_the_box_says():
    for resize in ("stretch", "letterbox"):
        frame = np.zeros((240, 500, 3), np.uint8)
        cv2.rectangle(frame, (100, 60), (299, 179), (255, 255, 255), cv2.FILLED)  # pixels 100 to 299: sides 100 and 300
        image, placement = preprocess(frame, InputSpec(hw=(160, 256), resize=resize, mean=(0.0, 0.0, 0.0)))
        x1, y1, x2, y2 = placement.boxes_to_input(np.array([[100, 60, 300, 180]], np.float32))[0]
        rows, columns = np.nonzero(image[:, :, 0] > 127)
        found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.subtract(found, (x1, y1, x2, y2))).max() <= 1


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.sampled_from([(64, 96), (320, 320), (416, 256)]),
    st.sampled_from(["stretch", "letterbox"]),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_boxes_come_back(height, width, hw, resize, parts):
    placement = place((height, width), InputSpec(hw=hw, resize=resize))
    box = np.array([[parts[0] * width, parts[1] * height, parts[2] * width, parts[3] * height]], np.float32)
    inside = placement.boxes_to_input(box)
    assert (inside <= np.array([hw[1], hw[0], hw[1], hw[0]], np.float32) * 1.00001).all()
    assert np.allclose(placement.boxes_to_source(inside), box, rtol=1e-5, atol=1e-4)


def test_boxes_outside_the_input_are_clipped_to_the_frame():
    placement = place((100, 400), InputSpec(hw=(64, 96)))
    boxes = np.array([[-5, -5, 200, 200]], np.float32)
    assert placement.boxes_to_source(boxes).tolist() == [[0, 0, 400, 100]]


def test_spread_scales_with_the_side_and_is_not_clipped():
    placement = place((128, 96), InputSpec(hw=(64, 96)))  # x is kept, y is halved
    assert placement.spread_to_source(np.array([[3, 3, 500, 500]], np.float32)).tolist() == [[3, 6, 500, 1000]]


@pytest.mark.parametrize("frame", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(ValueError, match="a frame is uint8"):
        preprocess(frame, InputSpec())


def test_an_input_that_no_network_takes_is_refused():
    with pytest.raises(ValueError, match="multiples of 32, got 100 x 96"):
        InputSpec(hw=(100, 96))
    with pytest.raises(ValueError, match="std must be positive"):
        InputSpec(std=(1.0, 0.0, 1.0))
