"""Where results go. Nothing half-written is left, nothing of the user's is replaced."""

import json

import cv2
import numpy as np
import pytest

from nanogfl.contract.detections import Detections
from nanogfl.contract.errors import UserError
from nanogfl_deploy import show
from nanogfl_deploy.sources import Source, open_source

FOUND = Detections(
    np.array([[1.004, 2, 3, 4]], np.float32),
    np.array([0.75], np.float32),
    np.array([1]),
    np.array([[0.5, 0.25, 1, 2]], np.float32),
)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
NAMES = ("cat", "Hündin")


def grey(value, height=64, width=96):
    return np.full((height, width, 3), value, np.uint8)


def frames_of(path):
    with open_source(str(path)) as source:
        return [round(float(frame.mean())) for _, frame in source]


def test_without_a_display_no_window_is_tried(monkeypatch):
    monkeypatch.setattr(show.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(show.subprocess, "run", None)  # would fail if called
    assert "no display" in show.window_problem()


def test_a_display_that_does_not_answer_is_found_out_without_aborting_this_process(monkeypatch):
    monkeypatch.setattr(show.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":4242")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert show.window_problem() == "OpenCV cannot open a window on this display"


class FakeScreen:
    """Stands for cv2's window calls; `keys` come one per waitKey."""

    def __init__(self, monkeypatch, keys, visible=1.0):
        self.keys, self.shown, self.closed = iter(keys), [], False
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "resizeWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, picture: self.shown.append(picture))
        monkeypatch.setattr(cv2, "waitKey", lambda _: next(self.keys))
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: visible)


@pytest.mark.parametrize("key", [ord("q"), 27])
def test_q_and_escape_end(monkeypatch, key):
    FakeScreen(monkeypatch, [-1, key])
    window = show.Window("t")
    assert window.show(grey(0), "", wait=False) is True
    assert window.show(grey(0), "", wait=False) is False


def test_a_picture_waits_for_a_key_and_any_other_key_goes_on(monkeypatch):
    screen = FakeScreen(monkeypatch, [-1, -1, ord("n")])
    assert show.Window("t").show(grey(0), "", wait=True) is True
    assert list(screen.keys) == []


def test_closing_the_window_ends_even_while_it_waits(monkeypatch):
    FakeScreen(monkeypatch, [-1], visible=0.0)
    assert show.Window("t").show(grey(0), "", wait=True) is False


def test_the_status_is_written_on_a_copy(monkeypatch):
    screen = FakeScreen(monkeypatch, [-1])
    picture = grey(200)
    show.Window("t").show(picture, show.status_line(31.26, 7.04, 3), wait=False)
    assert (picture == 200).all()
    assert not (screen.shown[0] == 200).all()
    assert show.status_line(31.26, 7.04, 3) == "31.3 FPS   model 7.0 ms   dropped 3"


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
    assert show.as_json("a", (1, 2), found, NAMES)["detections"][0]["spread"] is None


def test_a_listing_that_was_broken_off_leaves_nothing(tmp_path):
    sink = show.DetectionsFile(tmp_path / "out.json", NAMES)
    sink.add("a", (64, 96), FOUND)
    sink.close(complete=False)
    assert list(tmp_path.iterdir()) == []


def test_detections_go_to_json_only(tmp_path):
    with pytest.raises(UserError, match=r"a \.json or \.jsonl, got .*out\.csv"):
        show.DetectionsFile(tmp_path / "out.csv", NAMES)


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
        (video_path, tmp_path / "x.png", r"is one picture, the source has more: name a folder or an \.mp4$"),
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
    assert show.default_place(Source("camera 0", None, 30.0, live=True)).as_posix() == "runs/detect/camera-0.mp4"
