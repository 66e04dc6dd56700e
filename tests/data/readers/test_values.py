"""Flags, numbers, sizes and angles as tools write them: understood, or listed, in every format that has them."""

import math

import numpy as np
import pytest

from nanogfl.data.lint.annotations import check_problems
from nanogfl.data.lint.finding import Split
from nanogfl.data.readers.read import load_split
from nanogfl.errors import UserError
from tests.data.any_format import LVIS, NAMING, write_named
from tests.data.voc_set import BOX, SIZE, box, draw_image

PLAIN, CROWD = False, True
FLAGS = [(0, PLAIN), (1, CROWD), ("0", PLAIN), ("1", CROWD), ("false", PLAIN), ("true", CROWD), (" False ", PLAIN)]
JSON_FLAGS = [(False, PLAIN), (True, CROWD), (0.0, PLAIN), (1.0, CROWD)]
NO_FLAGS = ["no", "2", 2, -1]
NO_JSON_FLAGS = [[0], [], {}, None, "", math.nan, 10**400]


def flagged(kind, tmp_path, flag):
    inside = f"<difficult>{flag}</difficult>{BOX}"
    files = write_named(kind, tmp_path, ["a.png"], annotation={"iscrowd": flag}, inside=inside)
    draw_image(files[1] / "a.png")
    return files


@pytest.mark.parametrize(
    ("kind", "flag", "expected"),
    [("coco", *case) for case in FLAGS + JSON_FLAGS] + [("voc", *case) for case in [*FLAGS, ("", PLAIN)]],
)
def test_a_flag_is_read_as_it_is_meant(tmp_path, kind, flag, expected):
    data = load_split(*flagged(kind, tmp_path, flag))
    assert data.images[0].crowd.tolist() == [expected]
    assert data.problems == ()


@pytest.mark.parametrize(
    ("kind", "flag"),
    [("coco", flag) for flag in NO_FLAGS + NO_JSON_FLAGS] + [("voc", flag) for flag in NO_FLAGS],
    ids=lambda value: repr(value)[:20],
)
def test_a_bad_flag_is_listed_and_its_box_left_out(tmp_path, kind, flag):
    files = flagged(kind, tmp_path, flag)
    data = load_split(*files)
    assert data.images[0].boxes.shape == (0, 4)
    (problem,) = data.problems
    assert "0 or 1 expected" in problem.reason
    with pytest.raises(UserError, match="0 or 1"):
        load_split(*files, strict=True)


@pytest.mark.parametrize("kind", ["coco", LVIS])
@pytest.mark.parametrize("key", ["id", "image_id", "category_id"])
def test_whole_floats_are_ids_and_true_is_not(tmp_path, kind, key):
    numbers = {"id": 1, "image_id": 1, "category_id": 1}
    for value in (1.0, True):
        image = {"id": value} if key == "id" else {"id": 1}
        annotation = {**numbers, key: value}
        files = write_named(kind, tmp_path / str(value), ["a.png"], image=image, annotation=annotation)
        draw_image(files[1] / "a.png")
        if value is True:
            with pytest.raises(UserError, match="whole number"):
                load_split(*files)
        else:
            data = load_split(*files, strict=True)
            assert type(data.images[0].id) is int
            assert data.images[0].labels.tolist() == [0]


NO_SIZES = [0, -1, None, "100", "", True, 99.5, math.nan, math.inf, [100], {}, 1 << 20, 10**400]


@pytest.mark.parametrize("kind", ["coco", LVIS])
@pytest.mark.parametrize(
    ("side", "value"),
    [*(("width", value) for value in [*NO_SIZES, "absent"]), ("height", 0), ("height", "absent")],
    ids=lambda value: repr(value)[:20],
)
def test_a_bad_size_is_taken_from_the_file_and_listed(tmp_path, kind, side, value):
    files = write_named(kind, tmp_path, ["a.png", "b.png"], image={side: value})
    if value == "absent":
        files[0].write_text(
            files[0].read_text().replace(f'"{side}": "absent", ', "").replace(f', "{side}": "absent"', "")
        )
    draw_image(files[1] / "a.png", width=80, height=31)
    (files[1] / "b.png").write_bytes(b"no image")
    data = load_split(*files)
    assert [image.hw for image in data.images] == [(31, 80)]
    told = {problem.where: problem.reason for problem in data.problems}
    assert "80 x 31" in told["a.png"]
    assert told["b.png"].startswith("unreadable image")


@pytest.mark.parametrize("kind", NAMING)
def test_a_size_in_whole_floats_is_accepted(tmp_path, kind):
    size = SIZE.replace("100", "100.0")
    files = write_named(kind, tmp_path, ["a.png"], image={"width": 100.0}, size=size)
    (files[1] / "a.png").write_bytes(b"")  # is not looked at
    assert load_split(*files, strict=True).images[0].hw == (60, 100)


def turned(kind, tmp_path, degrees):
    """A box around (50, 30), 40 wide and 10 high before the turn."""
    inside = {
        "coco": "",
        "voc": f"<attributes><attribute><name>rotation</name><value>{degrees}</value></attribute></attributes>"
        + box(30, 25, 70, 35),
        "robndbox": "<robndbox><cx>50</cx><cy>30</cy><w>40</w><h>10</h>"
        f"<angle>{math.radians(degrees) if kind == 'robndbox' else ''}</angle></robndbox>",
    }[kind]
    annotation = {"bbox": [30, 25, 40, 10], "area": 400, "attributes": {"occluded": False, "rotation": degrees}}
    files = write_named("coco" if kind == "coco" else "voc", tmp_path, ["a.png"], annotation=annotation, inside=inside)
    draw_image(files[1] / "a.png")
    return files


@pytest.mark.parametrize("kind", ["coco", "voc", "robndbox"])
@pytest.mark.parametrize("degrees", [-30, 45.5, 90, 359])
def test_a_rotated_box_becomes_its_upright_hull_and_is_listed(tmp_path, kind, degrees):
    data = load_split(*turned(kind, tmp_path, degrees))
    angle = math.radians(degrees)
    corners = np.array([(x, y) for x in (-20, 20) for y in (-5, 5)]) @ np.array(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    ) + (50, 30)
    np.testing.assert_allclose(data.images[0].boxes[0], [*corners.min(axis=0), *corners.max(axis=0)], atol=1e-4)
    (problem,) = data.problems
    assert "rotated" in problem.reason
    assert data.problem_summary().startswith("1 x rotated box")


@pytest.mark.parametrize("kind", ["coco", "voc", "robndbox"])
@pytest.mark.parametrize("degrees", [0, 180])
def test_a_box_turned_by_180_degrees_is_upright(tmp_path, kind, degrees):
    data = load_split(*turned(kind, tmp_path, degrees))
    np.testing.assert_allclose(data.images[0].boxes, [[30, 25, 70, 35]], atol=1e-4)
    assert data.problems == ()


@pytest.mark.parametrize("kind", ["coco", "voc"])
@pytest.mark.parametrize("degrees", ["left", "nan", "inf", "", True, [45], 10**400], ids=lambda value: repr(value)[:10])
def test_a_bad_rotation_is_listed(tmp_path, kind, degrees):
    data = load_split(*turned(kind, tmp_path, degrees))
    assert data.images[0].boxes.tolist() == [[30, 25, 70, 35]]
    assert "rotation" in data.problems[0].reason


def test_an_angle_in_degrees_instead_of_radians_is_listed(tmp_path):
    inside = "<robndbox><cx>50</cx><cy>30</cy><w>40</w><h>10</h><angle>45</angle></robndbox>"
    files = write_named("voc", tmp_path, ["a.png"], inside=inside)
    draw_image(files[1] / "a.png")
    data = load_split(*files)
    assert data.images[0].boxes.tolist() == [[30, 25, 70, 35]]
    assert "45 radians" in data.problems[0].reason


def test_a_hull_is_clipped_to_the_image_as_any_box(tmp_path):
    files = write_named(
        "coco", tmp_path, ["a.png"], annotation={"bbox": [0, 28, 100, 4], "attributes": {"rotation": 90}}
    )
    draw_image(files[1] / "a.png")
    data = load_split(*files)
    np.testing.assert_allclose(data.images[0].boxes, [[48, 0, 52, 60]], atol=1e-4)
    assert (
        data.problem_summary()
        == "1 x rotated box, its upright hull is taken, 1 x box reaches outside its image, clipped"
    )


@pytest.mark.parametrize(
    ("key", "severity", "changes"),
    [
        ("rotated-boxes", "note", {"annotation": {"attributes": {"rotation": 30}}}),
        ("sizes-from-files", "note", {"image": {"width": 0}}),
        ("corner-boxes", "error", {"annotation": {"bbox": [40, 20, 90, 50]}}),
        ("mended-names", "note", {"image": {"file_name": "up\\A.PNG"}}),
    ],
)
def test_data_check_counts_corrections(tmp_path, key, severity, changes):
    files = write_named("coco", tmp_path, ["a.png"], **changes)
    draw_image(files[1] / "a.png")
    found = {finding.key: finding for finding in check_problems([Split("train", load_split(*files))])}
    assert (found[key].severity, found[key].count) == (severity, 1)


@pytest.mark.parametrize("kind", NAMING)
def test_boxes_in_fractions_of_the_image_are_refused(tmp_path, kind):
    inside = box(0.1, 0.2, 0.9, 1)
    files = write_named(kind, tmp_path, ["a.png", "b.png"], annotation={"bbox": [0.1, 0.2, 0.8, 0.8]}, inside=inside)
    for name in ("a.png", "b.png"):
        draw_image(files[1] / name)
    with pytest.raises(UserError, match=r"2 boxes .*fractions"):
        load_split(*files)


@pytest.mark.parametrize("kind", ["coco", LVIS])
def test_corners_instead_of_width_and_height_are_listed(tmp_path, kind):
    swapped = [10, 20, 30, 55]  # fits 60 x 100, an image whose width and height are swapped
    cases = (([40, 20, 90, 50], True), ([10, 10, 40, 30], False), ([40, 20, 30, 20], False), (swapped, False))
    for corners, suspected in cases:
        files = write_named(kind, tmp_path / str(corners), ["a.png", "b.png"], annotation={"bbox": corners})
        for name in ("a.png", "b.png"):
            draw_image(files[1] / name)
        told = [problem.reason for problem in load_split(*files).problems if "corners" in problem.reason]
        assert len(told) == suspected
        assert all("2 of 2" in reason for reason in told)
