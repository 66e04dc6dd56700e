"""Sources: what comes, in which order, and what is said when nothing comes."""

import threading

import cv2
import numpy as np
import pytest

from nanogfl.contract.errors import UserError
from nanogfl.contract.image_notes import LITTLE_RANGE
from nanogfl_deploy.sources import Camera, Pictures, Video, open_source


class FakeCapture:
    """A camera whose frames come when the test says so; frame n is filled with n."""

    def __init__(self, count, frame_rate=30.0):
        self.count, self.frame_rate = count, frame_rate
        self.index = 0
        self.go = threading.Semaphore(0)
        self.released = False

    def read(self):
        self.go.acquire()
        if self.index >= self.count:
            return False, None
        self.index += 1
        return True, np.full((4, 6, 3), self.index, np.uint8)

    def get(self, prop):
        return self.frame_rate if prop == cv2.CAP_PROP_FPS else 0.0

    def release(self):
        self.released = True

    def deliver(self, count):
        for _ in range(count):
            self.go.release()


def wait_until(condition):
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("waited 5 s")


def test_a_camera_yields_the_newest_frame_and_counts_the_others():
    capture = FakeCapture(count=100)
    capture.deliver(5)
    with Camera("camera 7", capture) as camera:
        wait_until(lambda: camera.dropped == 4)
        frames = iter(camera)
        name, frame = next(frames)
        assert (name, frame[0, 0, 0]) == ("camera 7#000000", 5)
        capture.deliver(1)
        assert next(frames)[1][0, 0, 0] == 6
        assert camera.dropped == 4
        capture.deliver(1)  # so that the reader sees that it has been closed
    wait_until(lambda: capture.released)


def test_a_camera_never_yields_a_frame_twice():
    capture = FakeCapture(count=3)
    capture.deliver(1)
    with Camera("camera 0", capture, patience=0.1) as camera:
        assert [frame[0, 0, 0] for _, frame in camera] == [1]
        assert camera.problem == "camera 0 stopped delivering frames after 1: check its cable and power"
        capture.deliver(1)


def test_a_camera_that_is_unplugged_ends_with_a_reason():
    capture = FakeCapture(count=2)
    capture.deliver(3)
    with Camera("camera 0", capture) as camera:
        values = [frame[0, 0, 0] for _, frame in camera]
    assert values[-1] == 2
    assert "stopped delivering" in camera.problem
    assert capture.released


def test_a_camera_that_opens_but_delivers_nothing_is_refused():
    dead = FakeCapture(count=0)
    dead.deliver(1)
    with pytest.raises(UserError, match="no camera 3: it opened but delivered no frame"):
        Camera("camera 3", dead)
    silent = FakeCapture(count=5)  # its read() never returns
    with pytest.raises(UserError, match=r"no camera 4: it opened but delivered no frame in 0\.05 s"):
        Camera("camera 4", silent, patience=0.05)
    silent.deliver(1)  # lets the thread end


def test_a_camera_that_does_not_exist_is_one_sentence(capfd):
    with pytest.raises(UserError, match="no camera 97"):
        open_source("97")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("told", "known"), [(0.0, None), (-1.0, None), (90000.0, None), (12.5, 12.5)])
def test_a_frame_rate_is_known_or_none(told, known):
    capture = FakeCapture(count=1, frame_rate=told)
    capture.deliver(2)
    with Camera("camera 0", capture) as camera:
        assert camera.frame_rate == known


def test_a_folder_comes_sorted_and_what_cannot_be_read_is_listed(picture_folder):
    with open_source(str(picture_folder)) as source:
        found = [(name, int(frame[0, 0, 0])) for name, frame in source]
    assert found == [("a.png", 200), ("b.png", 80)]
    assert len(source.skipped) == 1
    assert "broken.jpg is not an image" in source.skipped[0]
    assert (source.name, source.frame_rate, source.live) == ("pictures", None, False)


def test_what_is_not_read_of_images_is_noted_once_for_each_kind_with_its_count(picture_folder):
    counts = np.random.default_rng(0).integers(0, 4096, (40, 60)).astype(np.uint16)
    for name in ("c.png", "d.png"):
        cv2.imwrite(str(picture_folder / name), counts)
    with open_source(str(picture_folder)) as source:
        assert len(list(source)) == 4
    ((kind, (count, first)),) = source.noted.items()
    assert (kind, count) == (LITTLE_RANGE, 2)
    assert "c.png" in first


def test_strict_makes_an_unreadable_image_fatal(picture_folder):
    with (
        pytest.raises(UserError, match=r"broken\.jpg is not an image"),
        open_source(str(picture_folder), True) as source,
    ):
        list(source)


def test_a_folder_of_unreadable_images_is_an_error(tmp_path):
    (tmp_path / "x.png").write_text("no")
    with pytest.raises(UserError, match="none of the 1 images"), open_source(str(tmp_path)) as source:
        list(source)


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(UserError, match="has no images"):
        open_source(str(tmp_path))


def test_one_image_is_a_source_of_one(picture_folder):
    with open_source(str(picture_folder / "a.png")) as source:
        assert isinstance(source, Pictures)
        assert [name for name, _ in source] == ["a.png"]


def test_one_unreadable_image_is_an_error_even_when_not_strict(picture_folder):
    with pytest.raises(UserError, match="is not an image"), open_source(str(picture_folder / "broken.jpg")) as source:
        list(source)


def test_a_video_yields_every_frame_in_order(video_path):
    with open_source(str(video_path)) as source:
        assert isinstance(source, Video)
        assert source.frame_rate == pytest.approx(20)
        names, means = zip(*[(name, frame.mean()) for name, frame in source], strict=True)
    assert (names[0], names[-1]) == ("clip.mp4#000000", "clip.mp4#000011")
    assert np.allclose(means, np.arange(12) * 20, atol=6)  # mp4 is lossy


@pytest.mark.parametrize("content", [b"", b"a text", b"\x00\x00\x00\x18ftypmp42" + b"junk" * 99])
def test_a_file_that_is_no_video_is_one_sentence(tmp_path, content):
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"film\.mp4 is no video"):
        open_source(str(path))


def test_a_video_without_frames_is_refused(tmp_path):
    capture = FakeCapture(count=0)
    capture.deliver(1)
    with pytest.raises(UserError, match="has no frames"):
        Video(tmp_path / "empty.mp4", capture)
    assert capture.released


def test_a_source_that_does_not_exist_says_what_could_be_named():
    with pytest.raises(UserError, match="nowhere does not exist: name an image, a folder"):
        open_source("nowhere")
