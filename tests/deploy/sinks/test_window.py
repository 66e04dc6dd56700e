"""The window, against a screen that is made up."""

import cv2
import numpy as np
import pytest

from nanogfl_deploy.sinks import window


def grey(value, height=64, width=96):
    return np.full((height, width, 3), value, np.uint8)


def test_without_a_display_no_window_is_tried(monkeypatch):
    monkeypatch.setattr(window.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(window.subprocess, "run", None)  # would fail if called
    assert "no display" in window.window_problem()


def test_a_display_that_does_not_answer_is_found_out_without_aborting_this_process(monkeypatch):
    monkeypatch.setattr(window.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":4242")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert window.window_problem() == "OpenCV cannot open a window on this display"


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
    opened = window.Window("t")
    assert opened.show(grey(0), "", wait=False) is True
    assert opened.show(grey(0), "", wait=False) is False


def test_a_picture_waits_for_a_key_and_any_other_key_goes_on(monkeypatch):
    screen = FakeScreen(monkeypatch, [-1, -1, ord("n")])
    assert window.Window("t").show(grey(0), "", wait=True) is True
    assert list(screen.keys) == []


def test_closing_the_window_ends_even_while_it_waits(monkeypatch):
    FakeScreen(monkeypatch, [-1], visible=0.0)
    assert window.Window("t").show(grey(0), "", wait=True) is False


def test_the_status_is_written_on_a_copy(monkeypatch):
    screen = FakeScreen(monkeypatch, [-1])
    picture = grey(200)
    window.Window("t").show(picture, window.status_line(31.26, 7.04, 3), wait=False)
    assert (picture == 200).all()
    assert not (screen.shown[0] == 200).all()
    assert window.status_line(31.26, 7.04, 3) == "31.3 FPS   model 7.0 ms   dropped 3"


def test_a_window_that_the_user_has_closed_can_be_closed(monkeypatch):
    FakeScreen(monkeypatch, [-1])

    def gone(_):
        raise cv2.error("no such window")

    monkeypatch.setattr(cv2, "destroyWindow", gone)
    window.Window("t").close()


@pytest.mark.parametrize(
    "content", ["", "class error(Exception): pass\ndef namedWindow(name): raise error('headless')"]
)
def test_an_opencv_without_windows_is_found_out(monkeypatch, tmp_path, content):
    (tmp_path / "cv2.py").write_text(content)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "cannot open a window" in window.window_problem()
