"""Pictures: what must hold of them whatever they look like."""

import colorsys

import numpy as np
import pytest

from nanogfl.contract.detections import Detections
from nanogfl.draw.boxes import class_colour, draw_detections, line_width, tile


def detections(*boxes, labels=None, spread=None):
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(count, 0.5, np.float32),
        np.arange(count) if labels is None else np.array(labels),
        None if spread is None else np.array(spread, np.float32),
    )


def has_colour(picture, colour):
    return bool((picture == np.array(colour, np.uint8)).all(axis=2).any())


def test_the_frame_itself_is_not_touched():
    frame = np.full((80, 120, 3), 90, np.uint8)
    before = frame.copy()
    picture = draw_detections(frame, detections([10, 30, 60, 70]), ["cat"])
    assert np.array_equal(frame, before)
    assert picture.shape == frame.shape
    assert not np.array_equal(picture, frame)
    assert np.array_equal(draw_detections(frame, detections(), []), frame)


def test_a_box_is_drawn_at_its_sides_in_its_class_colour():
    picture = draw_detections(
        np.full((200, 300, 3), 255, np.uint8), detections([50, 60, 250, 180], labels=[1]), ["a", "b"]
    )
    for row, column in ((120, 50), (120, 250), (180, 150), (60, 220)):
        assert tuple(picture[row, column].tolist()) == class_colour(1)
    assert (picture[100:140, 100:200] == 255).all()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_box_can_be_told_from_any_ground(grey):
    picture = draw_detections(np.full((200, 300, 3), grey, np.uint8), detections([50, 60, 250, 180]), ["a"])
    profile = picture[120, 40:61].astype(int)
    assert np.abs(profile - grey).max(axis=1).max() > 100


def test_colours_of_the_first_eight_classes_differ_in_hue():
    hues = sorted(colorsys.rgb_to_hls(*(value / 255 for value in class_colour(label)[::-1]))[0] for label in range(8))
    gaps = np.diff([*hues, hues[0] + 1])
    assert gaps.min() > 0.05
    assert len({class_colour(label) for label in range(200)}) == 200


@pytest.mark.parametrize("box", [[-20, -20, 30, 30], [90, 60, 400, 300], [0, 79, 119, 80], [200, 200, 300, 300]])
def test_a_label_stays_inside_the_picture_wherever_the_box_is(box):
    frame = np.full((80, 120, 3), 255, np.uint8)
    picture = draw_detections(frame, detections(box), ["cat"])
    ground = (picture == np.array(class_colour(0), np.uint8)).all(axis=2)
    assert ground.sum() > 200  # the label's ground, more than any line of these boxes
    assert has_colour(picture, class_colour(0))


def test_a_name_longer_than_the_picture_is_shrunk_into_it():
    picture = draw_detections(
        np.full((80, 120, 3), 255, np.uint8), detections([5, 40, 60, 70]), ["a very long name " * 5]
    )
    ground = (picture == np.array(class_colour(0), np.uint8)).all(axis=2)
    assert ground[:, 60:].any()  # reaches beyond its box, and drawing did not fail


def test_lines_grow_with_the_picture_and_one_pixel_is_enough():
    assert [line_width(160, 300), line_width(480, 640), line_width(1080, 1920)] == [1, 2, 4]
    assert draw_detections(np.zeros((1, 1, 3), np.uint8), detections([0, 0, 1, 1]), ["a"]).shape == (1, 1, 3)


def test_spread_softens_the_side_that_has_it_and_no_other():
    frame = np.full((200, 300, 3), 255, np.uint8)
    found = detections([100, 60, 200, 160], spread=[[8, 0, 0, 0]])
    picture = draw_detections(frame, found, ["a"], show_spread=True)
    columns = np.nonzero((picture != frame).any(axis=2)[110])[0]
    left, right = columns[columns < 150], columns[columns > 150]
    assert (left.min(), left.max()) == pytest.approx((80, 120), abs=3)  # 2.5 deviations
    assert (right.min(), right.max()) == pytest.approx((200, 200), abs=2)
    assert np.array_equal(draw_detections(frame, found, ["a"]), draw_detections(frame, found, ["a"], show_spread=False))


def test_boxes_can_be_numbered_best_first():
    frame = np.full((200, 300, 3), 255, np.uint8)
    found = detections([50, 60, 120, 180], [180, 60, 280, 180], labels=[0, 0])
    same = draw_detections(frame, found, ["1 a"])
    numbered = draw_detections(frame, found, ["a"], numbered=True)
    assert np.array_equal(same[:, :150], numbered[:, :150])
    assert not np.array_equal(same[:, 150:], numbered[:, 150:])  # this one is 2 a


def test_tiles_lie_row_by_row_in_cells_of_the_largest_picture():
    pictures = [np.full((10 + i, 20, 3), 50 * i + 50, np.uint8) for i in range(3)]
    sheet = tile(pictures, columns=2, gap=2)
    assert sheet.shape == (12 * 2 + 2, 20 * 2 + 2, 3)
    assert (sheet[:10, :20] == 50).all()
    assert (sheet[:11, 22:] == 100).all()
    assert (sheet[14:26, :20] == 150).all()
    titled = tile(pictures, 2, ["truth", "detections", "more"], gap=2)
    assert not np.array_equal(titled, sheet)
    assert (pictures[0] == 50).all()  # the titles are not written into the given pictures
    with pytest.raises(ValueError, match="at least one picture"):
        tile([], 2)


def test_a_name_of_a_megabyte_is_drawn_by_its_ends():
    """OpenCV would take minutes; the score stays."""
    long, short = "a" * 500_000 + "b" * 500_000, "a" * 40 + " [...] " + "b" * 35
    pictures = [
        draw_detections(np.full((200, 900, 3), 90, np.uint8), detections([50, 60, 250, 180]), [name])
        for name in (long, short)
    ]
    assert np.array_equal(*pictures)
