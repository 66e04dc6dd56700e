"""Files of detections: whole after every frame, whatever happens to the disk and whatever a name holds."""

import json
import os

import numpy as np
import pytest

from nanogfl.contract.detections import Detections
from nanogfl.errors import UserError
from nanogfl_deploy.sinks import listing
from nanogfl_deploy.sinks import pictures as show

FOUND = Detections(
    np.array([[1.004, 2, 3, 4]], np.float32),
    np.array([0.75], np.float32),
    np.array([1]),
    np.array([[0.5, 0.25, 1, 2]], np.float32),
)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
NAMES = ("cat", "Hündin")


def test_json_lines_have_one_object_a_frame(tmp_path):
    sink = show.DetectionsFile(tmp_path / "out.jsonl", NAMES)
    sink.add("a.png", (64, 96), FOUND)
    sink.add("b.png", (64, 96), NOTHING)
    assert not sink.path.exists()
    sink.close(complete=True)
    first, second = [json.loads(line) for line in sink.path.read_text(encoding="utf-8").splitlines()]
    assert first == {
        "source": "a.png",
        "width": 96,
        "height": 64,
        "detections": [
            {"box": [1.0, 2.0, 3.0, 4.0], "score": 0.75, "label": 1, "class": "Hündin", "spread": [0.5, 0.25, 1.0, 2.0]}
        ],
    }
    assert second["detections"] == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_a_list_of_the_same_objects(tmp_path, count):
    sink = show.DetectionsFile(tmp_path / "out.json", NAMES)
    for index in range(count):
        sink.add(str(index), (64, 96), FOUND)
    sink.close(complete=True)
    assert [entry["source"] for entry in json.loads(sink.path.read_text(encoding="utf-8"))] == [
        str(index) for index in range(count)
    ]


def test_a_model_without_spread_says_null():
    found = Detections(FOUND.boxes, FOUND.scores, FOUND.labels, None)
    assert listing.as_json("a", (1, 2), found, NAMES)["detections"][0]["spread"] is None


def test_a_listing_that_was_broken_off_leaves_nothing(tmp_path):
    sink = show.DetectionsFile(tmp_path / "out.json", NAMES)
    sink.add("a", (64, 96), FOUND)
    sink.close(complete=False)
    assert list(tmp_path.iterdir()) == []


def test_detections_go_to_json_only(tmp_path):
    with pytest.raises(UserError, match=r"a \.json or \.jsonl, got .*out\.csv"):
        show.DetectionsFile(tmp_path / "out.csv", NAMES)


def content(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if ".json." in f"{path.name}." else [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_after_every_frame_the_unfinished_file_is_whole(tmp_path, suffix):
    sink = show.DetectionsFile(tmp_path / f"out{suffix}", NAMES)
    for count in range(3):
        (part,) = tmp_path.iterdir()
        assert len(content(part)) == count
        sink.add(str(count), (64, 96), FOUND)
    sink.close(complete=False)


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("keep", [True, False])
def test_a_full_disk_is_a_sentence_and_the_frames_before_it_can_be_kept(tmp_path, on_small_disk, suffix, keep):
    (tmp_path / f"out{suffix}").write_text("from before")
    printed = on_small_disk(
        5000,
        f"""
sink = show.DetectionsFile(Path({str(tmp_path)!r}) / "out{suffix}", ("a",))
found = Detections(np.zeros((9, 4), np.float32), np.ones(9, np.float32), np.zeros(9, np.int64))
count = 0
try:
    while True:
        sink.add("x", (10, 10), found)
        count += 1
except UserError as error:
    print(count, error)
sink.close({keep})
""",
    )
    count, _, sentence = printed.partition(" ")
    assert int(count) > 2
    assert f"out{suffix} cannot be written" in sentence
    (left,) = tmp_path.iterdir()
    assert left.name == f"out{suffix}"
    if keep:
        assert len(content(left)) == int(count)
    else:
        assert left.read_text() == "from before"


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_name_that_is_not_utf_8_can_be_read_back(tmp_path, suffix):
    name = os.fsdecode(b"caf\xe9.jpg")
    sink = show.DetectionsFile(tmp_path / f"out{suffix}", ("\ud800",))
    sink.add(name, (64, 96), Detections(FOUND.boxes, FOUND.scores, np.array([0])))
    sink.close(complete=True)
    (entry,) = content(sink.path)
    assert entry["source"] == name
    assert entry["detections"][0]["class"] == "\ud800"


def test_a_frame_with_a_time_says_it(tmp_path):
    sink = show.DetectionsFile(tmp_path / "out.json", NAMES)
    sink.add("a", (64, 96), NOTHING, 1.23456)
    sink.add("b", (64, 96), NOTHING)
    sink.close(complete=True)
    first, second = content(sink.path)
    assert first["seconds"] == 1.235
    assert "seconds" not in second


def test_a_folder_in_the_way_is_a_sentence(tmp_path):
    (tmp_path / "out.json").mkdir()
    with pytest.raises(UserError, match=r"out\.json: it is a folder"):
        show.DetectionsFile(tmp_path / "out.json", NAMES)
