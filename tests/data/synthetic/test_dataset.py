"""The embedded data set: its pictures, its boxes, its files."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanogfl.data.synthetic import dataset as synthetic
from nanogfl.data.synthetic.dataset import CATEGORY_IDS, CLASSES, Drawing, draw_dataset, draw_image, image_hw
from nanogfl.data.synthetic.shapes import contours, place_outline, render
from nanogfl.errors import UserError

HW = (120, 160)


@pytest.fixture(scope="module")
def sample() -> list[Drawing]:
    return [draw_image(7, index, image_hw(index, HW)) for index in range(300)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "new" / "shapes"
    assert draw_dataset(folder, train=24, val=9, seed=3, hw=HW)
    return folder


def load(folder: Path, split: str) -> dict:
    return json.loads((folder / f"{split}.json").read_text())


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file."""
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_arguments_draw_the_same_picture_in_another_process():
    here = draw_image(5, 11, (120, 160))
    program = (
        "import hashlib; from nanogfl.data.synthetic.dataset import draw_image; d = draw_image(5, 11, (120, 160));"
        "print(hashlib.sha256(d.image.tobytes()).hexdigest(), [(o.label, o.box, o.visible) for o in d.objects])"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    objects = [(drawn.label, drawn.box, drawn.visible) for drawn in here.objects]
    assert there == f"{hashlib.sha256(here.image.tobytes()).hexdigest()} {objects}"


def test_another_index_or_seed_draws_another_picture():
    pictures = [draw_image(seed, index, HW).image.tobytes() for seed in range(3) for index in range(10)]
    assert len(set(pictures)) == 30


def test_boxes_lie_inside_the_picture_and_pictures_are_not_all_of_one_shape(sample: list[Drawing]):
    for index, drawing in enumerate(sample):
        height, width = drawing.owner.shape
        assert drawing.image.shape == (height, width, 3)
        assert (height, width) == image_hw(index, HW)
        assert drawing.image.dtype == np.uint8
        for drawn in drawing.objects:
            x1, y1, x2, y2 = drawn.box
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
    assert {drawing.owner.shape for drawing in sample} == {(120, 160), (160, 120), (128, 128)}


def test_boxes_are_tight_to_the_pixels_of_shapes_that_nothing_covers(sample: list[Drawing]):
    checked = 0
    for drawing in sample:
        for position, drawn in enumerate(drawing.objects):
            seen_y, seen_x = np.nonzero(drawing.owner == position)
            seen = (seen_x.min(), seen_y.min(), seen_x.max() + 1, seen_y.max() + 1)
            if drawn.visible == 1.0:
                assert seen == drawn.box
                checked += 1
            else:
                assert (np.array(seen[:2]) >= drawn.box[:2]).all()
                assert (np.array(seen[2:]) <= drawn.box[2:]).all()
    assert checked > 500


@pytest.mark.parametrize("label", range(len(CLASSES)), ids=CLASSES)
def test_a_mask_is_the_shapes_polygon_by_brute_force(label: int):
    rng = np.random.default_rng(label)
    for centre in ((30.3, 24.8), (2.0, 45.0)):  # the second one partly outside
        outline = place_outline(contours(rng, label), 35.0, stretch=0.8, angle=rng.uniform(0, 6), centre=centre)
        stencil = render(outline, 1.5, (50, 60))
        assert stencil is not None
        drawn = np.zeros((50, 60), dtype=bool)
        drawn[stencil.window] = stencil.mask
        for row in range(50):
            for column in range(60):
                # signed distance of the pixel's centre from the polygons; inside an odd number of them is inside
                signed = [
                    cv2.pointPolygonTest(polygon.astype(np.float32), (column + 0.5, row + 0.5), True)
                    for polygon in outline
                ]
                if min(abs(distance) for distance in signed) > 0.6:
                    assert drawn[row, column] == (sum(distance > 0 for distance in signed) % 2 == 1)
        rows, columns = np.nonzero(drawn)
        assert stencil.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        # the share inside, against the same shape drawn in the middle of a large image
        whole = render([polygon + 100 for polygon in outline], 1.5, (300, 300))
        assert whole is not None
        assert whole.inside == 1.0
        assert stencil.inside == np.count_nonzero(drawn) / np.count_nonzero(whole.mask)


def recognise(mask: np.ndarray) -> str:
    """The class of a mask, by geometry that the drawing does not use."""
    padded = np.pad(mask.astype(np.uint8), 1)
    outlines, hierarchy = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if (hierarchy[0][:, 3] >= 0).any():
        return "ring"  # it has a hole
    area = np.count_nonzero(mask)
    hull = cv2.convexHull(np.concatenate(outlines))
    if area / cv2.contourArea(hull) > 0.9:  # convex: which part of its smallest rectangle it fills
        filled = area / np.prod(cv2.minAreaRect(hull)[1])
        return "triangle" if filled < 0.65 else "disc" if filled < 0.89 else "rectangle"
    # count the arms, once the second moments are made equal in all directions
    points = np.argwhere(padded) - np.argwhere(padded).mean(axis=0)
    radius = np.linalg.norm(points @ np.linalg.inv(np.linalg.cholesky(np.cov(points.T))).T, axis=1)
    tips = padded.copy()
    tips[tuple(np.argwhere(padded)[radius < 0.75 * radius.max()].T)] = 0
    arms = sum(cv2.contourArea(tip) >= 1 for tip in cv2.findContours(tips, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0])
    return "cross" if arms <= 4 else "star"


def test_a_label_names_the_shape_that_was_drawn(sample: list[Drawing]):
    agree: dict[str, list[bool]] = {name: [] for name in CLASSES}
    for drawing in sample:
        height, width = drawing.owner.shape
        for position, drawn in enumerate(drawing.objects):
            x1, y1, x2, y2 = drawn.box
            if drawn.visible == 1.0 and min(x1, y1, width - x2, height - y2) > 0 and min(x2 - x1, y2 - y1) > 25:
                name = CLASSES[drawn.label]
                agree[name].append(recognise(drawing.owner[y1:y2, x1:x2] == position) == name)
    assert all(len(seen) >= 20 and np.mean(seen) > 0.9 for seen in agree.values()), {
        name: (len(seen), np.mean(seen)) for name, seen in agree.items()
    }


def test_at_least_half_of_every_shape_is_inside_the_picture():
    rng = np.random.default_rng(0)
    empty = np.full(HW, -1, dtype=np.int8)
    # `inside` itself is checked by brute force above
    found = [synthetic._find_room(rng, label, empty, []) for label in range(len(CLASSES)) for _ in range(60)]
    inside = [stencil.inside for stencil in found if stencil is not None]
    assert len(inside) == len(found)
    assert min(inside) >= 0.5
    assert 0.1 < np.mean(np.array(inside) < 1) < 0.6


def test_shapes_of_one_class_look_different_and_classes_do_not_share_a_colour(sample: list[Drawing]):
    means: dict[int, list[np.ndarray]] = {label: [] for label in range(len(CLASSES))}
    for drawing in sample:
        for position, drawn in enumerate(drawing.objects):
            means[drawn.label].append(drawing.image[drawing.owner == position].mean(axis=0))
    centres = np.array([np.mean(colours, axis=0) for colours in means.values()])
    within = np.array([np.std(colours, axis=0) for colours in means.values()])
    assert within.min() > 35
    assert np.ptp(centres, axis=0).max() < within.min()


def test_a_shape_stands_out_from_what_is_around_it(sample: list[Drawing]):
    differences = []
    for drawing in sample:
        for position in range(len(drawing.objects)):
            mask = (drawing.owner == position).astype(np.uint8)
            around = (cv2.dilate(mask, np.ones((9, 9), np.uint8)) > 0) & (drawing.owner == -1)
            if np.count_nonzero(around) > 20:
                inner, outer = drawing.image[mask > 0].mean(axis=0), drawing.image[around].mean(axis=0)
                differences.append(float(np.linalg.norm(inner - outer)))
    assert np.percentile(differences, 2) > 20
    assert np.median(differences) > 60


def test_shapes_cover_one_another_but_never_so_much_that_one_is_hardly_seen(sample: list[Drawing]):
    visible = np.array([drawn.visible for drawing in sample for drawn in drawing.objects])
    assert visible.min() >= synthetic.MIN_VISIBLE
    assert 0.05 < (visible < 0.95).mean() < 0.5
    # every pixel of a shape belongs to an annotated one: no piece is left over without a box
    for drawing in sample:
        assert set(np.unique(drawing.owner)) - {-1} == set(range(len(drawing.objects)))


def test_some_shapes_are_cut_by_the_edge_of_the_picture(sample: list[Drawing]):
    cut = [
        min(drawn.box) == 0 or drawn.box[2] == drawing.owner.shape[1] or drawn.box[3] == drawing.owner.shape[0]
        for drawing in sample
        for drawn in drawing.objects
    ]
    assert 0.05 < np.mean(cut) < 0.5


def test_about_one_picture_in_ten_is_empty_and_the_others_hold_one_to_seven(sample: list[Drawing]):
    counts = [len(drawing.objects) for drawing in sample]
    assert 0.05 < np.mean(np.array(counts) == 0) < 0.16  # 3 standard deviations of 300 draws
    assert set(counts) == set(range(8))


def test_every_class_is_about_as_frequent_and_sizes_spread(sample: list[Drawing]):
    counts = np.bincount([drawn.label for drawing in sample for drawn in drawing.objects], minlength=len(CLASSES))
    assert counts.min() > 0.7 * counts.mean()
    shorter = [min(drawing.owner.shape) for drawing in sample for _ in drawing.objects]
    boxes = np.array([drawn.box for drawing in sample for drawn in drawing.objects])
    share = np.max(boxes[:, 2:] - boxes[:, :2], axis=1) / shorter
    assert share.max() < 0.58  # .55, and a pixel of rounding
    assert np.percentile(share, 10) < 0.25
    assert np.percentile(share, 90) > 0.3


def test_files_on_disk_agree_with_the_annotations_and_with_the_drawings(written: Path):
    for split, count, first in (("train", 24, 0), ("val", 9, synthetic.FIRST_VAL_INDEX)):
        content = load(written, split)
        assert [category["name"] for category in content["categories"]] == list(CLASSES)
        assert [category["id"] for category in content["categories"]] == list(CATEGORY_IDS)
        assert len(content["images"]) == count
        assert {image["file_name"] for image in content["images"]} == {p.name for p in (written / split).iterdir()}
        assert len({annotation["id"] for annotation in content["annotations"]}) == len(content["annotations"])
        for offset, image in enumerate(content["images"]):
            frame = cv2.imread(str(written / split / image["file_name"]))
            assert frame.shape == (image["height"], image["width"], 3)
            drawing = draw_image(3, first + offset, (image["height"], image["width"]))
            assert np.abs(frame.astype(int) - drawing.image).mean() < 8  # JPEG
            boxes = [
                (annotation["category_id"], *annotation["bbox"])
                for annotation in content["annotations"]
                if annotation["image_id"] == image["id"]
            ]
            assert boxes == [
                (CATEGORY_IDS[d.label], d.box[0], d.box[1], d.box[2] - d.box[0], d.box[3] - d.box[1])
                for d in drawing.objects
            ]
        for annotation in content["annotations"]:
            assert annotation["area"] == annotation["bbox"][2] * annotation["bbox"][3]
            assert annotation["iscrowd"] == 0


def test_training_and_validation_share_no_picture(written: Path):
    pictures = [path.read_bytes() for path in written.rglob("*.jpg")]
    assert len(pictures) == len(set(pictures)) == 33
    train, val = ({image["id"] for image in load(written, split)["images"]} for split in ("train", "val"))
    assert not train & val


def test_a_larger_data_set_begins_with_the_smaller_one(written: Path, tmp_path: Path):
    draw_dataset(tmp_path, train=25, val=9, seed=3, hw=HW)
    for path in written.rglob("*.jpg"):
        assert (tmp_path / path.relative_to(written)).read_bytes() == path.read_bytes()


def test_the_same_data_set_is_not_drawn_again(written: Path):
    before = contents(written)
    calls: list[None] = []
    assert not draw_dataset(written, train=24, val=9, seed=3, hw=HW, on_image=lambda: calls.append(None))
    assert contents(written) == before
    assert not calls


@pytest.mark.parametrize("other", [{"train": 25}, {"val": 8}, {"seed": 4}, {"hw": (160, 160)}], ids=str)
def test_a_drawing_with_other_parameters_is_refused_and_untouched(written: Path, other: dict):
    before = contents(written)
    with pytest.raises(UserError, match=f"{next(iter(other))} .* instead of"):
        draw_dataset(written, **{"train": 24, "val": 9, "seed": 3, "hw": HW, **other})
    assert contents(written) == before


@pytest.mark.parametrize("name", ["photo.jpg", "train.json", synthetic.STAMP])
def test_a_folder_with_something_else_is_refused_and_untouched(tmp_path: Path, name: str):
    (tmp_path / name).write_text("[1, 2]")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="name another folder"):
        draw_dataset(tmp_path, train=2, val=1, hw=HW)
    assert contents(tmp_path) == before


def test_a_file_or_a_place_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="file"):
            draw_dataset(folder, train=2, val=1, hw=HW)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_drawing_that_was_stopped_is_drawn_to_the_end(tmp_path: Path):
    def stop_at_third() -> None:
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt

    calls: list[None] = []
    with pytest.raises(KeyboardInterrupt):
        draw_dataset(tmp_path / "stopped", train=4, val=2, hw=HW, on_image=stop_at_third)
    assert draw_dataset(tmp_path / "stopped", train=4, val=2, hw=HW)
    draw_dataset(tmp_path / "straight", train=4, val=2, hw=HW)
    stopped, straight = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("stopped", "straight")
    )
    assert stopped == straight


def test_a_drawing_that_lost_an_image_is_drawn_again(tmp_path: Path):
    draw_dataset(tmp_path, train=3, val=1, hw=HW)
    lost = tmp_path / "train" / "0000001.jpg"
    content = lost.read_bytes()
    lost.unlink()
    assert draw_dataset(tmp_path, train=3, val=1, hw=HW)
    assert lost.read_bytes() == content


@pytest.mark.parametrize("wrong", [{"train": 0}, {"val": 0}, {"seed": -1}, {"hw": (20, 320)}], ids=str)
def test_impossible_parameters_are_refused(tmp_path: Path, wrong: dict):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} "):
        draw_dataset(tmp_path, **{"train": 2, "val": 1, **wrong})
