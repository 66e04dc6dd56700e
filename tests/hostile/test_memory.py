"""Bombs, each in a process of its own: what it takes at most is little more than the command takes without them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.bad import Bad
from tests.hostile.test_hostile import ZOO

resource = pytest.importorskip("resource", reason="memory is limited through a module of Unix's")

ROOT = Path(__file__).parents[2]
BY_NAME = {bad.name: bad for bad in ZOO}
# Resident megabytes of the whole process: Python, numpy, OpenCV and onnxruntime take some 120, torch 400.
LIMITS = {
    "image: a JPEG that claims too much": 400,
    "image: a GIF that claims too much": 400,
    "image: a PNG beyond OpenCV's own limit that claims too much": 400,
    "image: a device": 400,
    "image: a folder of bombs": 400,
    "onnx: a card that is deep": 400,
    "onnx: a card of 9 MB": 400,
    "onnx: a device": 400,
    "coco: a device": 400,
    "coco: brackets without end": 400,
    "yolo: billion laughs": 400,
    "config: billion laughs": 900,
    "config: billion laughs, merged": 900,
    "checkpoint: compressed": 900,
    "checkpoint: records over one another": 900,
    "checkpoint: a config that multiplies": 900,
    "checkpoint: an input without end": 900,
}
# VmHWM begins anew with a program; ru_maxrss goes on from what the tests' own process took before the fork.
_RUN = """
try:
    from nanogfl.cli.main import main
    main()
finally:
    with open("/proc/self/status") as status:
        print("peak", next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024)
"""


@pytest.mark.slow  # a process a test, and the import of torch in some
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("name", LIMITS)
def test_a_bomb_takes_no_memory(name, tmp_path):
    bad: Bad = BY_NAME[name]
    arguments = bad.build(tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "export", "deploy"))}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *arguments],
        capture_output=True, text=True, cwd=tmp_path, env=environment, check=False, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert int(done.stdout.split()[-1]) < LIMITS[name]
