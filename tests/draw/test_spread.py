"""Soft and sharp sides: their profiles against the Gaussian by hand, and what must not be touched."""

import numpy as np
import pytest

from nanogfl.draw.spread import draw_soft_box

WHITE = (255, 255, 255)


def drawn(box, spread, *, hw=(400, 700), grey=0, colour=WHITE, thickness=1):
    picture = np.full((*hw, 3), grey, np.uint8)
    draw_soft_box(picture, np.array(box, np.float32), np.array(spread, np.float32), colour, thickness)
    return picture


def across(picture, side):
    """The picture's levels from a side of [250, 120, 450, 300] outwards, in the middle of the side."""
    rows, columns = picture[:, 350, 0].astype(float), picture[210, :, 0].astype(float)
    return {"left": columns[250::-1], "top": rows[120::-1], "right": columns[450:], "bottom": rows[300:]}[side]


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_a_soft_side_fades_like_the_gaussian_of_its_deviation(side):
    spread = [20.0 if name == side else 0.0 for name in ("left", "top", "right", "bottom")]
    profile = across(drawn([250, 120, 450, 300], spread), side)
    # by hand, white on black: half of 255, times (1 / 21) ** (1 / 4) = .46714 for a line of 1 pixel, is 59.56
    # in the middle; at half a deviation exp(-1 / 8) = .8825 of it, at one .6065, at two .1353
    assert profile[[10, 20, 40]] == pytest.approx([52.6, 36.1, 8.1], abs=1.0)
    assert (profile[55:] == 0).all()


def test_a_sharp_side_is_a_line_of_its_colour_with_a_dark_edge_and_nothing_else():
    picture = drawn([250, 120, 450, 300], [0, 0, 0, 0], grey=200, colour=(10, 20, 250), thickness=3)
    columns = picture[210, 240:261].tolist()
    assert columns[9:12] == [[10, 20, 250]] * 3  # 249, 250, 251
    assert columns[8] == columns[12] == [0, 0, 0]
    assert columns[:8] == columns[13:] == [[200, 200, 200]] * 8


def test_of_a_soft_side_less_line_is_left_than_of_a_sharp_one():
    lines = [int(drawn([250, 120, 450, 300], [sigma, 0, 0, 0], thickness=2)[210, 250, 2]) for sigma in (0, 4, 12, 40)]
    assert lines == sorted(lines, reverse=True)
    assert lines[0] == 255
    assert 60 < lines[-1] < 160  # still seen


def test_the_middle_of_a_box_and_what_is_far_from_it_stay_as_they_are():
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (400, 700, 3), dtype=np.uint8)
    picture = ground.copy()
    draw_soft_box(picture, np.array([250, 120, 450, 300], np.float32), np.full(4, 8, np.float32), (0, 200, 0), 2)
    same = (picture == ground).all(axis=2)
    assert same[150:270, 280:420].all()
    assert same[:90].all()
    assert same[330:].all()
    assert same[:, :220].all()
    assert same[:, 480:].all()


def test_columns_are_drawn_like_rows_and_corners_belong_to_both():
    box, spread = [60, 40, 300, 170], [9, 14, 2, 30]
    picture = drawn(box, spread, hw=(240, 360), grey=120, colour=(30, 90, 220))
    turned = drawn([40, 60, 170, 300], [14, 9, 30, 2], hw=(360, 240), grey=120, colour=(30, 90, 220))
    difference = np.abs(picture.transpose(1, 0, 2).astype(int) - turned)
    assert difference.max() <= 2  # bytes, rounded after each side


def test_a_corner_of_two_soft_sides_fades_to_all_directions():
    picture = drawn([250, 120, 450, 300], [20, 20, 20, 20])[..., 1].astype(int)
    away = [picture[120 - step, 250 - step] for step in (4, 15, 30, 45)]
    assert away == sorted(away, reverse=True)
    assert away[0] > 25
    assert away[-1] == 0


@pytest.mark.parametrize("spread", [[0, 0, 0, 0], [1e4, 1e4, 1e4, 1e4], [0, 1e6, 3, 1e-9]])
def test_no_box_and_no_spread_is_too_much(spread):
    for box in ([-50, -50, 900, 900], [690, 390, 800, 800], [-90, -90, -10, -10], [5, 5, 5, 5], [9, 9, 4, 4]):
        assert drawn(box, spread, grey=90).shape == (400, 700, 3)
    assert drawn([0, 0, 1, 1], spread, hw=(1, 1)).shape == (1, 1, 3)


def test_a_huge_spread_tints_and_does_not_hide():
    picture = drawn([250, 120, 450, 300], [1e4] * 4, grey=100, colour=(0, 0, 255))
    assert np.abs(picture[5, 5].astype(int) - 100).max() < 60
