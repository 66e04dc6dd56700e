"""Small models whose answers can be computed by hand (tests/golden/make_blank.py says how), and frames for them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.commands import accepted, python

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(params=["detections", "raw"])
def blank_path(request):
    """Both formats: a test with this fixture runs on each."""
    return GOLDEN / f"blank_{request.param}.onnx"


@pytest.fixture
def cells_frame():
    """64 x 96, black but for cell 1 (blue 255, green 51) and cell 5 (red 204)."""
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:32, 32:64] = (255, 51, 0)
    frame[32:, 64:] = (0, 0, 204)
    return frame


@pytest.fixture
def picture_folder(tmp_path):
    """Two pictures and a text file that calls itself one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, grey in (("b.png", 80), ("a.png", 200)):
        good, content = cv2.imencode(".png", np.full((64, 96, 3), grey, np.uint8))
        assert good
        (folder / name).write_bytes(content.tobytes())
    (folder / "broken.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("not even called a picture")
    return folder


@pytest.fixture
def video_path(tmp_path):
    """12 frames of 64 x 96 at 20 frames a second, brighter by 20 each."""
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20.0, (96, 64))
    for index in range(12):
        writer.write(np.full((64, 96, 3), index * 20, np.uint8))
    writer.release()
    return path


@pytest.fixture
def on_small_disk():
    """Runs code in a process that may write so many bytes into a file, as on a full disk; returns what it prints."""
    pytest.importorskip("resource")

    def run(most_bytes, code):
        head = """
import resource, cv2
from pathlib import Path
import numpy as np
from nanogfl.contract.detections import Detections
from nanogfl.errors import UserError
from nanogfl_deploy.sinks import pictures as show
"""
        limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most_bytes}, {most_bytes}))\n"
        return accepted(python("-c", head + limit + code))

    return run
