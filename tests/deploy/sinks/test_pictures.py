"""Where results go. Nothing half-written is left, nothing of the user's is replaced."""

import numpy as np
import pytest

from nanogfl.errors import UserError
from nanogfl_deploy.sinks import pictures as show
from nanogfl_deploy.sources.open import Source, open_source


def grey(value, height=64, width=96):
    return np.full((height, width, 3), value, np.uint8)


def frames_of(path):
    with open_source(str(path)) as source:
        return [round(float(frame.mean())) for _, frame in source]


def test_a_video_appears_only_when_it_is_complete(tmp_path):
    saver = show.VideoFile(tmp_path / "new" / "out.mp4", 20.0)
    for index in range(5):
        saver.add("", grey(index * 40), None)
    assert not saver.path.exists()
    saver.close(complete=True)
    assert frames_of(saver.path) == pytest.approx([0, 40, 80, 120, 160], abs=4)
    assert [file.name for file in saver.path.parent.iterdir()] == ["out.mp4"]


def test_a_video_that_was_broken_off_leaves_nothing(tmp_path):
    saver = show.VideoFile(tmp_path / "out.mp4", 20.0)
    saver.add("", grey(0), None)
    saver.close(complete=False)
    assert list(tmp_path.iterdir()) == []


def test_a_live_video_keeps_the_pace_of_the_clock(tmp_path):
    saver = show.VideoFile(tmp_path / "out.mp4", 10.0)
    for seconds, value in ((0.0, 0), (0.31, 100), (0.32, 250), (0.5, 200)):  # .32: nothing is due yet
        saver.add("", grey(value), seconds)
    saver.close(complete=True)
    assert frames_of(saver.path) == pytest.approx([0, 100, 100, 100, 200, 200], abs=5)


def test_a_video_of_two_sizes_is_refused(tmp_path):
    saver = show.VideoFile(tmp_path / "out.mp4", 10.0)
    saver.add("a", grey(0), None)
    with pytest.raises(UserError, match="b is 64 x 64 after 96 x 64"):
        saver.add("b", grey(0, 64, 64), None)
    saver.close(complete=False)


def test_frames_of_a_video_can_be_saved_as_pictures(tmp_path, video_path):
    with open_source(str(video_path)) as source:
        saver = show.open_saver(tmp_path / "frames", source)
        for name, frame in source:
            saver.add(name, frame, None)
    assert sorted(file.name for file in saver.path.iterdir())[:2] == ["clip.mp4_000000.jpg", "clip.mp4_000001.jpg"]


def test_results_never_replace_the_source(picture_folder, video_path):
    for text, place in (
        (picture_folder, picture_folder),
        (picture_folder / "a.png", picture_folder),
        (picture_folder / "a.png", picture_folder / "a.png"),
        (video_path, video_path),
    ):
        with open_source(str(text)) as source, pytest.raises(UserError, match="would replace the source"):
            show.open_saver(place, source)


def test_a_place_that_does_not_fit_the_source_is_refused(tmp_path, picture_folder, video_path):
    for text, place, words in (
        (picture_folder, tmp_path / "x.mp4", "is a video, the source is pictures"),
        (picture_folder, tmp_path / "x.png", "is one picture, the source has more: name a folder$"),
        (video_path, tmp_path / "x.png", r"is one picture, the source has more: name a folder or a video$"),
    ):
        with open_source(str(text)) as source, pytest.raises(UserError, match=words):
            show.open_saver(place, source)


def test_a_place_that_cannot_be_made_is_a_sentence(tmp_path, picture_folder):
    (tmp_path / "file").write_text("in the way")
    with open_source(str(picture_folder)) as source, pytest.raises(UserError, match="cannot be made"):
        show.open_saver(tmp_path / "file", source)


def test_each_source_has_its_default_place(picture_folder, video_path):
    for text, place in (
        (picture_folder, "runs/detect/pictures"),
        (picture_folder / "a.png", "runs/detect/a.png"),
        (video_path, "runs/detect/clip.mp4"),
    ):
        with open_source(str(text)) as source:
            assert show.default_place(source).as_posix() == place
    assert show.default_place(Source("camera 0", None, 30.0, live=True)).as_posix() == "runs/detect/camera-0.mkv"
