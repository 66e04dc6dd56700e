"""OpenCV without the libraries that it needs: one sentence, whatever the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "tests" / "golden" / "blank_detections.onnx")
COMMANDS = {
    "detect": ["detect", MODEL, "0"],
    "bench": ["bench", MODEL],
    "info": ["info", MODEL],
    "explain": ["explain", MODEL, "a.png"],
    "eval": ["eval", MODEL, "--data", "val.json"],
    "data check": ["data", "check", str(ROOT / "configs" / "quickstart.yaml")],
    "data draw": ["data", "draw", "drawn"],
    "train": ["train", str(ROOT / "configs" / "quickstart.yaml")],
    "export": ["export", "best.pt"],
}


@pytest.mark.parametrize(
    "command",
    [name if name in ("detect", "train") else pytest.param(name, marks=pytest.mark.exhaustive) for name in COMMANDS],
)
def test_an_opencv_that_cannot_be_loaded_names_both_ways_out(tmp_path, command):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    path = os.pathsep.join(str(part) for part in (tmp_path / "fake", ROOT, ROOT / "deploy", ROOT / "export"))
    done = subprocess.run(
        [sys.executable, "-m", "nanogfl", *COMMANDS[command]],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        check=False,
        timeout=60,
    )
    if "which is not installed" in done.stderr:
        pytest.skip("this command needs more than a device has")
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    for words in ("libGL.so.1", "apt-get install libgl1", "pip install opencv-python-headless"):
        assert words in line


def test_another_import_that_fails_shows_where(tmp_path):
    code = """
import sys
from nanogfl.cli import main
def broken(**_):
    import no_such_module_of_ours
main.nanogfl.main = broken
main.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'no_such_module_of_ours'" in done.stderr
