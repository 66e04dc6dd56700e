"""The page at the end of a run: what it shows, and text from elsewhere in it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools")

from nanogfl.api.folder_story import Choice, Story, read_story, story_of, write_story
from nanogfl.api.page import Measured, best_and_worst, write_page
from nanogfl.config import Config
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.errors import UserError
from nanogfl.evaluation.coco_ap import score
from tests.evaluation.test_coco_ap import detections, truth_as_detections

BOX = [10, 10, 40, 30]


def images(folder, count):
    for number in range(count):
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", np.full((60, 100, 3), 90, np.uint8))[1].tobytes())
    return records(count, folder)


def records(count, folder=Path()):
    """One object each, of either class in turn."""
    one, area, crowd = np.array([BOX], np.float32), np.array([600], np.float32), np.array([False])
    return [ImageRecord(n, folder / f"{n}.png", (60, 100), one, np.array([n % 2]), area, crowd) for n in range(count)]


def story(**changes):
    told = {
        "folder": "/my photos",
        "lists": ("t", "v"),
        "found": ("format: COCO",),
        "left_out": ("train: 3 x bad box",),
        "choices": (Choice("train.epochs", 40, "by | the <b>rule</b>"),),
        "start": ("start: from scratch",),
    }
    return Story(**{**told, **changes})


def measured(folder, records, found):
    dataset = DataSet("val", ("cat", "a|b <i>`x`"), (1, 2), tuple(records), ())
    return Measured(folder / "best.onnx", dataset, found, score(dataset, found), True, ("agrees: 0.01 px",))


def test_a_page_has_figures_pictures_choices_commands_and_the_verdict(tmp_path):
    given = images(tmp_path, 5)
    found = truth_as_detections(given[:3]) + [detections()] * 2
    (tmp_path / "curves.png").touch()
    page = write_page(tmp_path, story(), measured(tmp_path, given, found)).read_text(encoding="utf-8")
    assert "**AP 0." in page
    for expected in (
        "| cat | 3 |", "agrees: 0.01 px", "train.epochs | 40", "3 x bad box", "start: from scratch", "curves.png",
        "nanogfl detect ", "nanogfl label ", "nanogfl train '/my photos' --init-from",
    ):  # fmt: skip
        assert expected in page
    for name in ("page_best.png", "page_worst.png"):
        assert f"]({name})" in page
        assert cv2.imread(str(tmp_path / name)).shape[0] > 100


def test_names_are_no_markdown(tmp_path):
    given = images(tmp_path, 2)
    folder = story(folder="![x](http://x)\n# boo", found=("a * b\x1b[2J",))
    page = write_page(tmp_path, folder, measured(tmp_path, given, truth_as_detections(given))).read_text()
    assert r"a\|b \<i\>\`x\`" in page
    assert r"by \| the \<b\>rule" in page
    assert "\x1b" not in page
    assert "\n# boo" not in page.split("```")[2]


def test_the_best_and_the_worst_are_other_images():
    given = records(6)
    perfect = truth_as_detections(given)
    found = [*perfect[:2], detections(), detections([BOX], [0.9], [1]), perfect[4], detections([BOX], [0.1], [1])]
    best, worst = best_and_worst(given, found)
    assert best[0] in (0, 1, 4)
    assert set(worst) >= {2, 5}
    assert not set(best) & set(worst)


def test_one_image_and_no_object_make_a_page(tmp_path):
    given = images(tmp_path, 1)
    page = write_page(tmp_path, story(), measured(tmp_path, given, [detections()])).read_text()
    assert "page_best.png" in page
    assert "page_worst.png" not in page
    empty = ImageRecord(
        1, given[0].path, (60, 100), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32),
        np.zeros(0, np.bool_),
    )  # fmt: skip
    page = write_page(tmp_path, story(), measured(tmp_path, [empty], [detections()])).read_text()
    assert "no AP" in page
    assert "page_best.png" not in page
    assert not (tmp_path / "page_best.png").exists()


def test_a_story_is_read_back_and_belongs_to_its_lists(tmp_path):
    pytest.importorskip("pydantic")
    assert read_story(tmp_path) is None
    write_story(tmp_path, story())
    assert read_story(tmp_path) == story()
    assert story_of(tmp_path, Config()) is None
    own = story(lists=("train.json", "val.json"))
    write_story(tmp_path, own)
    assert story_of(tmp_path, Config()) == own
    for text in ("[", "{}", '{"lists": 3}', '{"lists": ["a"]}', '{"choices": [1]}'):
        (tmp_path / "data/folder.json").write_text(text)
        with pytest.raises(UserError, match=r"folder\.json is damaged"):
            read_story(tmp_path)
