"""Signals during a command: a recording is finished, a call that does not end is ended."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "golden" / "blank_detections.onnx"
SIGNALS = ["SIGTERM", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("SIGINT", "SIGHUP"))]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent")


class _Film(http.server.BaseHTTPRequestHandler):
    """Pictures without end, some 25 a second, as network cameras send them."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        picture = cv2.imencode(".jpg", np.full((64, 96, 3), (0, 0, 255), np.uint8))[1].tobytes()
        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
        while not self.server.over.wait(0.04):
            try:
                self.wfile.write(head + picture + b"\r\n")
            except OSError:
                return

    def log_message(self, *_):
        pass


@pytest.fixture
def stream():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Film)
    server.over = threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://user:hidden@127.0.0.1:{server.server_port}/live"
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def start(tmp_path):
    """Starts Python in an empty folder, with Ctrl-C ignored as in a shell's background job."""
    started = []

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "deploy")])}
        environment.pop("DISPLAY", None)
        environment.pop("WAYLAND_DISPLAY", None)
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=tmp_path,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited 30 s")


def listed(folder):
    """The lines of the listing that is being written."""
    return sum(file.read_text().count("\n") for file in folder.glob(".*.jsonl*"))


def count_frames(path):
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_completes_a_recording(start, stream, tmp_path, name):
    process = start("-m", "nanogfl", "detect", MODEL, stream, "--save", "out.mp4", "--json", "out.jsonl", "--no-window")
    wait_for(lambda: listed(tmp_path) >= 5)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.jsonl", "out.mp4"]
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(lines) >= 5
    assert lines[-1]["seconds"] > lines[0]["seconds"] == 0
    assert count_frames(tmp_path / "out.mp4") > 1  # it keeps the pace of the clock, not one per line of the listing
    assert out.startswith(f"{len(lines)} frames; red ")
    assert "hidden" not in out + (tmp_path / "out.jsonl").read_text()


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_during_a_video_leaves_what_was_there_and_nothing_else(start, tmp_path, name):
    writer = cv2.VideoWriter(str(tmp_path / "long.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (96, 64))
    for _ in range(4_000):
        writer.write(np.zeros((64, 96, 3), np.uint8))
    writer.release()
    (tmp_path / "out.mp4").write_text("from before")
    process = start("-m", "nanogfl", "detect", MODEL, "long.avi", "--save", "out.mp4", "--json", "out.jsonl")
    wait_for(lambda: listed(tmp_path) >= 5)
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + getattr(signal, name)
    assert "stopped after" in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["long.avi", "out.mp4"]
    assert (tmp_path / "out.mp4").read_text() == "from before"


STUCK = """
import hashlib, sys, threading
from nanogfl.cli import ending
ending.PATIENCE = 0.5
with ending.stoppable() as now:
    now.at_the_worst = lambda: print("tidied", flush=True)
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # minutes in C, without a look at signals
"""


@pytest.mark.parametrize("name", SIGNALS)
def test_a_call_that_does_not_end_is_ended_by_one_signal(start, name):
    process = start("-c", STUCK)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (128 + getattr(signal, name), "tidied\n")
    assert "stopped" in err


ORDERLY = """
import time
from nanogfl.cli.ending import stoppable
with stoppable() as now:
    now.at_the_first = lambda: None
    print("ready", flush=True)
    while now.came is None:
        time.sleep(0.01)
    time.sleep(1)  # what is recorded is closed
    print(now.came.name, flush=True)
"""


@pytest.mark.parametrize(("names", "code"), [(["SIGTERM", "SIGHUP", "SIGTERM"], 0), (["SIGINT", "SIGINT"], 130)])
def test_an_orderly_end_is_hurried_by_a_second_interrupt_only(start, names, code):
    process = start("-c", ORDERLY)
    assert process.stdout.readline() == "ready\n"
    for name in names:
        process.send_signal(getattr(signal, name))
        time.sleep(0.2)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, f"{names[0]}\n" if code == 0 else "")


def test_nohup_is_respected(start):
    process = start("-c", "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + ORDERLY)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "SIGTERM\n")
