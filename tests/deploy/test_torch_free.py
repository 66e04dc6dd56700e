"""The device side runs where torch, onnx and pydantic are not installed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCKER = """
import sys
for name in ("torch", "onnx", "onnxscript", "onnxsim", "pydantic", "yaml", "pycocotools", "matplotlib", "rich"):
    sys.modules[name] = None  # importing it raises ModuleNotFoundError, looking for it finds nothing
"""


def run_python(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "deploy")])}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )


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
    done = run_python(BLOCKER + code, str(blank_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "[2]\n", "")


def test_the_blocker_blocks():
    done = run_python(BLOCKER + "import torch")
    assert "ModuleNotFoundError: import of torch halted" in done.stderr


def test_a_checkpoint_without_torch_says_what_to_install(tmp_path):
    (tmp_path / "best.pt").write_bytes(b"weights")
    for command in (["detect", str(tmp_path / "best.pt"), str(tmp_path)], ["info", str(tmp_path / "best.pt")]):
        code = "from nanogfl.cli.main import main\nsys.argv[0] = 'nanogfl'\nmain()"
        done = run_python(BLOCKER + code, *command)
        assert done.returncode == 2
        assert done.stderr.splitlines() == [
            "nanogfl: this command needs the package 'torch', which is not installed: pip install 'nanogfl[train]'"
        ]
