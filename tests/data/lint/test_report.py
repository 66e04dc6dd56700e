"""What the report shows: sheets around the boxes that are meant, lines that fit, all of it in the file for scripts."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from nanogfl.config import Config
from nanogfl.data.advice.advise import Advice
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.data.lint.finding import Example, Finding, Split, by_severity, sample
from nanogfl.data.lint.pictures import save_sheet
from nanogfl.data.lint.report import CheckReport, format_table, write_json, write_markdown
from nanogfl.draw.boxes import class_colour


def record(path, boxes=((100, 80, 140, 110), (10, 10, 20, 20)), hw=(200, 300)):
    count = len(boxes)
    at = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.arange(count, dtype=np.int64)
    return ImageRecord(1, path, hw, at, labels, np.ones(count, np.float32), np.zeros(count, np.bool_))


@pytest.fixture
def image(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((200, 300, 3), 90, np.uint8))
    return record(tmp_path / "a.png")


def sheet(tmp_path, *examples):
    path = tmp_path / "sheet.png"
    drawn = save_sheet(path, Finding("note", "x", "x", "x", examples), {"train": ("cat", "dog")})
    assert path.exists() == drawn
    return cv2.imread(str(path)) if drawn else None


def test_the_box_that_is_meant_is_shown_with_what_is_around_it(tmp_path, image):
    seen = sheet(tmp_path, Example("train", "a.png", image, (0,)))
    # centre 120 95, twice the size (80 x 60) on each side: from 40 35 to 200 155, enlarged by 2.25
    assert seen.shape == (270, 360, 3)
    for y, x in ((150, 135), (150, 225), (169, 180)):  # left, right and lower side
        assert tuple(seen[y, x].tolist()) == class_colour(0), (y, x)
    assert seen[120, 180].tolist() == [90, 90, 90]
    assert not (seen == class_colour(1)).all(axis=2).any()  # the other box is neither meant nor near


def test_without_a_box_that_is_meant_the_whole_image_is_shown_with_all(tmp_path, image):
    seen = sheet(tmp_path, Example("train", "a.png", image))
    assert seen.shape == (240, 360, 3)
    assert tuple(seen[110, 120].tolist()) == class_colour(0)
    assert (seen == class_colour(1)).all(axis=2).any()


def test_a_box_at_the_edge_is_cut_at_the_edge(tmp_path, image):
    corner = record(image.path, ((290, 190, 300, 200),))
    seen = sheet(tmp_path, Example("train", "a.png", corner, (0,)))
    assert seen.shape == (270, 270, 3)  # 53 x 53 pixels: from 247 147 to the corner, enlarged by 5.1
    assert tuple(seen[244, 219].tolist()) == class_colour(0)


def test_pairs_stand_side_by_side_and_what_cannot_be_seen_is_left_out(tmp_path, image):
    gone = record(tmp_path / "gone.png")
    seen = sheet(tmp_path, *[Example("train", "a", image, (), image)] * 3, Example("train", "gone", gone, (), gone))
    assert seen.shape == (2 * 240 + 4, 2 * 724 + 4, 3)
    (tmp_path / "sheet.png").unlink()
    assert sheet(tmp_path, Example("train", "gone", gone), Example("train", "a class")) is None


def test_a_sample_is_spread_over_all():
    assert sample(range(100), 8) == list(range(0, 100, 13))
    assert sample(range(3), 8) == [0, 1, 2]
    assert sample([], 8) == []


def test_errors_come_first_and_of_each_kind_the_most_frequent():
    findings = [
        Finding("note", "a", "", "", (), 9),
        Finding("warning", "b", "", "", (), 1),
        Finding("warning", "c", "", "", (), 5),
        Finding("error", "d", "", "", (), 1),
    ]
    assert [finding.key for finding in by_severity(findings)] == ["d", "c", "b", "a"]


@pytest.fixture
def report(image):
    def make(*findings, images=(image,), images_read=True):
        split = Split("train", DataSet("train.json", ("cat", "dog"), (1, 2), tuple(images), ()))
        return CheckReport("a.yaml", Config(), split, split, findings, "reg_max 7 is enough", images_read)

    return make


def test_the_table_gives_each_finding_a_count_an_example_and_what_to_do(report):
    short = tuple(Example("train", f"'class {n}'") for n in range(40))
    other = Finding("error", "b", "files gone", "copy them", (Example("val", "x" * 200), Example("val", "y")), 7)
    lines = [line for _, line in format_table(report(other, Finding("warning", "a", "odd names", "rename", short)))]
    assert " ".join(lines[lines.index("") + 1].split()) == "ERROR 7 files gone"
    named = next(line for line in lines if "'class 0'" in line)
    assert named.strip().startswith("e.g. train: 'class 0'; 'class 1'; ")
    assert 80 < len(named) < 120
    assert not any("xy" in line or "; y" in line for line in lines)
    assert lines[-1] == "1 error, 1 warning, 0 notes"
    assert format_table(report())[-1][1] == "nothing was found"
    assert "not opened" in format_table(report(images_read=False))[-1][1]


def test_all_notes_are_one_line_and_the_files_keep_their_examples(tmp_path, report, image):
    notes = [Finding("note", key, f"{key} things", "nothing to do", (Example("train", f"x {key}"),), 3) for key in "ab"]
    whole = report(*notes)
    (line,) = [line for _, line in format_table(whole) if "things" in line]
    assert "3 a things; 3 b things" in line
    assert format_table(whole)[-1][1] == "0 errors, 0 warnings, 2 notes"
    write_markdown(tmp_path / "check.md", whole, {})
    text = (tmp_path / "check.md").read_text()
    assert "x a" in text
    assert "x b" in text


def test_the_advice_comes_last_as_settings_with_their_reasons(tmp_path, report):
    whole = replace(report(), advice=(Advice("model.input.hw", [416, 416], "small | things"), Advice("a.b", 0.5, "c")))
    lines = [line for _, line in format_table(whole)]
    start = lines.index("would train from scratch with:")
    assert [line.split() for line in lines[start + 1 : start + 3]] == [
        ["model.input.hw=[416,416]", "small", "|", "things"],
        ["a.b=0.5", "c"],
    ]
    write_markdown(tmp_path / "check.md", whole, {})
    assert "| `model.input.hw=[416,416]` | small \\| things |" in (tmp_path / "check.md").read_text()
    write_json(tmp_path / "check.json", whole)
    assert json.loads((tmp_path / "check.json").read_text())["advice"][1] == {"key": "a.b", "value": 0.5, "reason": "c"}


def test_the_facts_say_how_large_objects_are_at_the_input(report):
    facts = dict(report().facts())
    assert facts["classes"] == "cat 1, dog 1 boxes in train"
    # 42.7 x 48 and 10.7 x 16 px at 320 x 320: roots 45.3 and 13.1
    assert "320 x 320: 29 px" in facts["sizes"]


def test_the_files_hold_all_examples_and_escape_a_table(tmp_path, report, image):
    examples = tuple(Example("train", f"a|{n}", image, (1,), image) for n in range(9))
    whole = report(Finding("warning", "odd", "odd | names", "rename | them", examples))
    write_json(tmp_path / "check.json", whole)
    (finding,) = json.loads((tmp_path / "check.json").read_text())["findings"]
    assert [entry["text"] for entry in finding["examples"]] == [f"a|{n}" for n in range(9)]
    assert finding["examples"][0]["boxes"] == [[10, 10, 20, 20]]
    assert finding["examples"][0]["file"] == finding["examples"][0]["beside"] == str(image.path)
    write_markdown(tmp_path / "check.md", whole, {"odd": "odd.png"})
    text = (tmp_path / "check.md").read_text()
    assert "a\\|5" in text
    assert "a\\|6" not in text
    assert "more in check.json" in text
    assert "](odd.png)" in text
