"""OpenCV without the libraries that it needs: one sentence, whatever the command. Without windows: all else works."""

import os

import pytest

from nanogfl.cli import main
from tests.commands import PATHS, ROOT, process

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


def nanogfl(folder, *arguments, **environment):
    """Modules in folder/fake come before the installed ones."""
    return process(folder, *arguments, PYTHONPATH=os.pathsep.join((str(folder / "fake"), PATHS)), **environment)


@pytest.mark.parametrize(
    "command",
    [name if name in ("detect", "train") else pytest.param(name, marks=pytest.mark.exhaustive) for name in COMMANDS],
)
def test_an_opencv_that_cannot_be_loaded_names_both_ways_out(tmp_path, command):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    done = nanogfl(tmp_path, *COMMANDS[command])
    if "which is not installed" in done.stderr:
        pytest.skip("this command needs more than a device has")
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    for words in ("libGL.so.1", "apt-get install libgl1", "pip install opencv-python-headless"):
        assert words in line


HEADLESS = """
import cv2
def refuse(*_, **__):
    raise cv2.error("The function is not implemented. Rebuild the library with GTK+ 2.x or Cocoa support.")
cv2.namedWindow = cv2.imshow = cv2.waitKey = cv2.destroyAllWindows = refuse
"""


@pytest.mark.parametrize("option", [[], ["--no-window"]])
def test_with_an_opencv_without_windows_detect_saves_instead(tmp_path, option):
    import cv2
    import numpy as np

    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "sitecustomize.py").write_text(HEADLESS)
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60, 3), 90, np.uint8))
    done = nanogfl(tmp_path, "detect", MODEL, "a.png", *option, DISPLAY=":0")
    assert (done.returncode, done.stderr) == (0, "")
    reason = "--no-window" if option else "OpenCV cannot open a window"
    assert f"no window: {reason}" in done.stdout
    assert list((tmp_path / "runs" / "detect").iterdir())


def test_another_import_that_fails_shows_where(monkeypatch):
    def broken(**_):
        import no_such_module_of_ours  # noqa: F401

    monkeypatch.setattr(main.nanogfl, "main", broken)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_ours"):
        main.main()
