"""`nanogfl data show`."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from nanogfl.cli.data import data
from nanogfl.draw.boxes import class_colour
from nanogfl.errors import UserError

STILL = ["scale=[1,1]", "stretch=0", "translate=0", "flip=0", "brightness=0", "contrast=0", "saturation=0"]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Three grey images of 128 x 96 with an object and a crowd region each, and a recipe without augmentation."""
    (tmp_path / "train").mkdir()
    images, annotations = [], []
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"train/{number}.png"), np.full((96, 128, 3), 60 * number + 60, np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 96})
        for crowd, box in enumerate(([20 + 5 * number, 50, 30, 30], [70, 20, 40, 40])):
            entry = {"image_id": number, "category_id": 1, "bbox": box, "iscrowd": crowd}
            annotations.append({"id": len(annotations), **entry})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    (tmp_path / "train.json").write_text(json.dumps(content))
    path = tmp_path / "recipe.yaml"
    still = ", ".join(entry.replace("=", ": ") for entry in STILL)
    path.write_text(f"data: {{root: '{tmp_path}'}}\nmodel: {{input: {{hw: [96, 128]}}}}\naugment: {{{still}}}\n")
    return path


def show(recipe: Path, *arguments: str, to: str = "sheet.png"):
    output = recipe.parent / to
    return CliRunner().invoke(data, ["show", str(recipe), "-o", str(output), *arguments]), output


def pictures(sheet: np.ndarray, count: int) -> list[np.ndarray]:
    """The 96 x 128 cells of a sheet of four columns, four pixels apart."""
    return [sheet[n // 4 * 100 :, n % 4 * 132 :][:96, :128] for n in range(count)]


@pytest.mark.parametrize("renderer", ["cv2", "device"])
def test_the_sheet_shows_every_image_with_its_box_and_its_ignored_region(recipe, renderer):
    result, output = show(recipe, "--renderer", renderer)
    assert result.exit_code == 0, result.output
    assert "3 images, 3 boxes of 1 classes" in result.output
    assert str(output) in result.output
    sheet = cv2.imread(str(output))
    assert sheet.shape == (96, 3 * 132 - 4, 3)
    greys = []
    for picture in pictures(sheet, 3):
        greys.append(int(picture[90, 120, 0]))
        assert (picture[90, 120] == greys[-1]).all()
        sides = [tuple(picture[65, 20 + 5 * n].tolist()) == class_colour(0) for n in range(3)]
        assert sides == [greys[-1] == 60 * n + 60 for n in range(3)]  # the left side of this image's box alone
        assert (picture[65, 35] == greys[-1]).all()  # inside of it
        hatched = picture[20:60, 70:110, 0]
        assert 0.1 < (hatched == 255).mean() < 0.4
        assert 0.3 < (hatched == greys[-1]).mean() < 0.9
    assert sorted(greys) == [60, 120, 180]


def test_both_renderers_show_the_same(recipe):
    settings = ["mosaic=1", "mixup=0.5", "copy_paste=1", "rotate=20", "perspective=0.3", "brightness=0.3"]
    arguments = [part for entry in settings for part in ("--set", f"augment.{entry}")]
    sheets = []
    for renderer in ("cv2", "device"):
        result, output = show(recipe, "--renderer", renderer, *arguments, to=f"{renderer}.png")
        assert result.exit_code == 0, result.output
        sheets.append(cv2.imread(str(output)).astype(int))
    assert np.abs(sheets[0] - sheets[1]).mean() < 0.1
    plain = cv2.imread(str(show(recipe, to="plain.png")[1])).astype(int)
    assert np.abs(sheets[0] - plain).mean() > 5


def test_epoch_images_and_seed_decide_what_is_shown(recipe):
    def sheet(*arguments: str) -> np.ndarray:
        result, output = show(recipe, *arguments)
        assert result.exit_code == 0, result.output
        return cv2.imread(str(output))

    moving = ("--set", "augment.translate=0.3")
    first = sheet(*moving)
    assert np.array_equal(sheet(*moving), first)
    assert not np.array_equal(sheet(*moving, "--epoch", "1"), first)
    assert not np.array_equal(sheet(*moving, "--set", "train.seed=1"), first)
    assert sheet(*moving, "--images", "2").shape == (96, 2 * 132 - 4, 3)


def test_the_last_epochs_are_shown_without_mosaic(recipe):
    arguments = ("--set", "augment.mosaic=1", "--set", "train.epochs=10")
    last = cv2.imread(str(show(recipe, *arguments, "--epoch", "9")[1]))
    without = cv2.imread(str(show(recipe, "--set", "train.epochs=10", "--epoch", "9", to="without.png")[1]))
    early = cv2.imread(str(show(recipe, *arguments, "--epoch", "0", to="early.png")[1]))
    assert np.array_equal(last, without)
    assert not np.array_equal(early, cv2.imread(str(show(recipe, to="plain.png")[1])))


def refused(recipe: Path, *arguments: str, to: str = "sheet.png") -> str:
    result, output = show(recipe, *arguments, to=to)
    assert isinstance(result.exception, UserError), result.output
    assert not output.exists()
    return str(result.exception)


def test_user_errors_are_one_sentence_and_write_no_file(recipe):
    assert "must end in .png or .jpg" in refused(recipe, to="sheet.bmp")
    assert "its 100 epochs are counted from 0" in refused(recipe, "--epoch", "100")
    assert "mosaic" in refused(recipe, "--set", "augment.mosiac=1")
    (recipe.parent / "train/1.png").write_bytes(b"no image")
    assert "1.png is not an image" in refused(recipe, "--strict")


def test_a_missing_image_is_listed_or_with_strict_an_error(recipe):
    (recipe.parent / "train/1.png").unlink()
    assert "image is missing" in refused(recipe, "--strict")
    result, output = show(recipe, to="sheet.jpg")
    assert result.exit_code == 0
    assert "left out or mended: 1 x image is missing" in result.output
    assert output.read_bytes()[:2] == b"\xff\xd8"  # a JPEG
