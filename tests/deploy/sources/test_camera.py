"""A camera: the newest frame counts, a failed read is no end, a silence is."""

import threading
import time

import cv2
import numpy as np
import pytest

from nanogfl.errors import UserError
from nanogfl_deploy.sources.camera import Camera
from nanogfl_deploy.sources.open import open_source


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


class Replay:
    """A camera that delivers a frame every 5 ms; reads with these numbers fail, and those from `end` on."""

    def __init__(self, failing=(), end=10**9):
        self.failing, self.end, self.count = failing, end, 0
        self.released = False

    def read(self):
        time.sleep(0.005)
        self.count += 1
        if self.count in self.failing or self.count >= self.end:
            return False, None
        return True, np.zeros((4, 6, 3), np.uint8)

    def get(self, prop):
        return 200.0

    def release(self):
        self.released = True


def test_a_camera_never_yields_a_frame_twice():
    capture = FakeCapture(count=3)
    capture.deliver(1)
    with Camera("camera 0", capture, patience=0.1) as camera:
        assert [frame[0, 0, 0] for _, frame in camera] == [1]
        assert "camera 0 stopped delivering frames after 1 (none in 0.1" in camera.problem
        capture.deliver(1)


@pytest.mark.parametrize("failing", [(), (1,), (10,), range(5, 15)])
def test_failed_reads_among_good_ones_do_not_end_a_camera(failing):
    with Camera("camera 0", Replay(failing), patience=2) as camera:
        frames = iter(camera)
        for _ in range(30):
            next(frames)
        assert camera.problem is None


def test_a_camera_that_is_unplugged_ends_with_a_reason():
    capture = Replay(end=20)
    with Camera("camera 0", capture, patience=0.2) as camera:
        started = time.monotonic()
        assert 0 < len(list(camera)) < 20
        assert 0.2 < time.monotonic() - started < 2
    assert "stopped delivering" in camera.problem
    assert capture.released


@pytest.mark.parametrize("capture", [Replay(end=0), FakeCapture(count=5)], ids=["fails", "never returns"])
def test_a_camera_that_opens_but_delivers_nothing_is_refused_with_the_time_that_was_waited(capture):
    with pytest.raises(UserError, match=r"no camera 3: it opened but delivered no frame in 0\.\d+ s"):
        Camera("camera 3", capture, patience=0.1)
    if isinstance(capture, FakeCapture):
        capture.deliver(1)  # lets the thread end


def test_a_camera_that_was_stopped_yields_no_further_frame():
    with Camera("camera 0", Replay()) as camera:
        for count, _ in enumerate(camera):
            if count == 3:
                camera.stop()
        assert (count, camera.problem) == (3, None)


def test_frames_have_the_time_since_the_first():
    with Camera("camera 0", Replay()) as camera:
        frames = iter(camera)
        next(frames)
        assert camera.seconds == 0
        next(frames)
        assert 0 < camera.seconds < 5


def test_a_camera_that_does_not_exist_is_one_sentence(capfd):
    with pytest.raises(UserError, match="no camera 97"):
        open_source("97")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("told", "known"), [(0.0, None), (-1.0, None), (90000.0, None), (12.5, 12.5)])
def test_a_frame_rate_is_known_or_none(told, known):
    capture = FakeCapture(count=1, frame_rate=told)
    capture.deliver(1)
    with Camera("camera 0", capture) as camera:
        assert camera.frame_rate == known
        capture.deliver(1)  # so that the reader sees that it has been closed


@pytest.mark.parametrize("number", ["2147483648", "99999999999999999999"])
def test_a_number_that_no_camera_can_have_is_one_sentence(number):
    with pytest.raises(UserError, match=f"no camera {number}"):
        open_source(number)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_is_a_camera_and_one_that_is_none_says_so(device, capfd):
    with pytest.raises(UserError, match=f"no camera {device}: it cannot be opened"):
        open_source(device)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_stream_that_cannot_be_opened_does_not_show_its_password(scheme, capfd):
    with pytest.raises(UserError) as raised:
        open_source(f"{scheme}://user:hidden1@127.0.0.1:1/path?token=hidden2")
    assert f"{scheme}://127.0.0.1:1/path" in str(raised.value)
    assert "hidden" not in str(raised.value) + capfd.readouterr().err


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "concat://a", "nonsense://host/x", "http://[::1", "rtsp://h:no/x"]
)
def test_what_is_no_stream_is_not_opened(url):
    with pytest.raises(UserError):
        open_source(url)
