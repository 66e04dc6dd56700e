"""Videos that are written: what has the name can be read again, all of it."""

from itertools import product

import cv2
import numpy as np
import pytest

from nanogfl.errors import UserError
from nanogfl_deploy.sinks import pictures as show
from nanogfl_deploy.sinks import video_file
from nanogfl_deploy.sources.open import open_source
from tests.thinned import each, thinned

CONTAINERS = sorted(video_file.CODECS)
NOISE = """
rng = np.random.default_rng(0)
saver = show.VideoFile(Path({path!r}), 25.0)
try:
    for index in range(60):
        saver.add("x", rng.integers(0, 255, (120, 160, 3), dtype=np.uint8), {seconds})
    saver.close(True)
except UserError as error:
    print(error)
"""


def count_frames(path):
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_container_holds_every_frame(tmp_path, suffix):
    saver = show.VideoFile(tmp_path / f"out{suffix}", 12.5)
    for index in range(30):
        saver.add("", np.full((64, 96, 3), index * 8, np.uint8), None)
    saver.close(complete=True)
    assert count_frames(saver.path) == 30
    assert [file.name for file in tmp_path.iterdir()] == [f"out{suffix}"]


@pytest.mark.parametrize("suffix", thinned(CONTAINERS, ".mkv", ".mp4"))
def test_a_full_disk_leaves_what_was_there_before(tmp_path, on_small_disk, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_text("from before")
    printed = on_small_disk(30_000, NOISE.format(path=str(path), seconds=None))
    assert "60 frames" in printed
    assert "full" in printed
    assert [file.read_text() for file in tmp_path.iterdir()] == ["from before"]


def test_what_can_be_read_of_a_recording_is_kept_beside_what_was_there_before(tmp_path, on_small_disk):
    path = tmp_path / "out.mkv"
    path.write_text("from before")
    printed = on_small_disk(300_000, NOISE.format(path=str(path), seconds="index / 25"))
    assert path.read_text() == "from before"
    (kept,) = [file for file in tmp_path.iterdir() if file != path]
    assert 0 < count_frames(kept) < 60
    assert f"{count_frames(kept)} of 60 frames" in printed
    assert kept.name in printed


def test_a_recording_ends_while_the_disk_has_room_for_its_end(tmp_path, monkeypatch):
    usage = video_file.shutil.disk_usage(tmp_path)
    saver = show.VideoFile(tmp_path / "out.mp4", 10.0)
    saver.add("", np.zeros((64, 96, 3), np.uint8), 0.0)
    monkeypatch.setattr(video_file.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"full \(1,000 bytes"):
        saver.add("", np.zeros((64, 96, 3), np.uint8), 0.1)
    saver.close(complete=True)
    assert count_frames(saver.path) == 1


def test_what_a_killed_recording_has_left_is_not_removed_by_the_next(tmp_path):
    killed = show.VideoFile(tmp_path / "out.mkv", 10.0), show.DetectionsFile(tmp_path / "out.jsonl", ("a",))
    left = {path.name for path in tmp_path.iterdir()}
    for saver in killed:
        saver.close(complete=False)
    for name in left:  # as a kill leaves them: nobody holds their locks
        (tmp_path / name).write_text("from a killed run")
    show.DetectionsFile(tmp_path / "out.jsonl", ("a",)).close(complete=True)
    saver = show.VideoFile(tmp_path / "out.mkv", 10.0)
    saver.add("", np.zeros((64, 96, 3), np.uint8), 0.0)
    saver.close(complete=True)
    assert {path.name for path in tmp_path.iterdir()} == left | {"out.mkv", "out.jsonl"}
    assert count_frames(saver.path) == 1


@pytest.mark.parametrize(
    ("suffix", "rate"), each([*product(CONTAINERS, (0.5, 29.97003, 119.881, 144.0012, 999.99))], 4)
)
def test_every_believable_frame_rate_can_be_written(tmp_path, suffix, rate):
    saver = show.VideoFile(tmp_path / f"out{suffix}", rate)
    saver.add("", np.zeros((64, 96, 3), np.uint8), None)
    saver.close(complete=True)
    with open_source(str(saver.path)) as source:
        assert source.frame_rate == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("rate", [0.000001, 1e9, float("nan"), -1.0])
def test_a_frame_rate_that_nobody_believes_becomes_25(tmp_path, rate):
    assert show.VideoFile(tmp_path / "out.mp4", rate).frame_rate == 25


def test_a_video_without_frames_leaves_nothing_and_is_not_said_to_be_saved(tmp_path):
    with pytest.raises(UserError, match="no frame"):
        show.VideoFile(tmp_path / "out.mp4", 10.0).close(complete=True)
    assert list(tmp_path.iterdir()) == []


def test_two_runs_to_one_place_have_unfinished_files_of_their_own(tmp_path):
    first, second = (show.VideoFile(tmp_path / "out.mp4", 10.0) for _ in range(2))
    assert len(list(tmp_path.iterdir())) == 2
    first.close(complete=False)
    second.close(complete=False)
