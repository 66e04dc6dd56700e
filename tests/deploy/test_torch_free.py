"""The device side runs where torch, onnx and pydantic are not installed."""

from tests.commands import accepted, python, refused

BLOCKER = """
import sys
for name in ("torch", "onnx", "onnxscript", "onnxsim", "pydantic", "yaml", "pycocotools", "matplotlib", "rich"):
    sys.modules[name] = None  # importing it raises ModuleNotFoundError, looking for it finds nothing
"""


def test_a_detector_detects_without_torch(blank_path):
    code = """
import numpy as np
import nanogfl_deploy.bench.cost, nanogfl_deploy.sinks.pictures, nanogfl_deploy.sources.open
import nanogfl.cli.main
from nanogfl_deploy.runtime import Detector
frame = np.zeros((64, 96, 3), np.uint8)
frame[:32, :32, 2] = 255
print(Detector(sys.argv[1], threads=1)(frame).labels.tolist())
"""
    assert accepted(python("-c", BLOCKER + code, blank_path)) == "[2]\n"


def test_the_blocker_blocks():
    done = python("-c", BLOCKER + "import torch")
    assert "ModuleNotFoundError: import of torch halted" in done.stderr


def test_a_checkpoint_without_torch_says_what_to_install(tmp_path):
    (tmp_path / "best.pt").write_bytes(b"weights")
    for command in (["detect", str(tmp_path / "best.pt"), str(tmp_path)], ["info", str(tmp_path / "best.pt")]):
        code = "from nanogfl.cli.main import main\nsys.argv[0] = 'nanogfl'\nmain()"
        line = refused(python("-c", BLOCKER + code, *command))
        assert line.endswith("needs the package 'torch', which is not installed: pip install 'nanogfl[train]'")
