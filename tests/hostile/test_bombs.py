"""Bombs: small files that stand for gigabytes, read in a process whose memory is limited."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.bad import write
from tests.hostile.images import BOMBS, REFUSED
from tests.hostile.test_hostile import FILES

resource = pytest.importorskip("resource", reason="memory is limited through a module of Unix's")
pytestmark = [
    pytest.mark.slow,  # a process per test, and the import of torch in some
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's /proc"),
]

ROOT = Path(__file__).parents[2]
BY_NAME = {bad.name: bad for bad in FILES}
# Resident megabytes of a process that reads all of them: Python, numpy, OpenCV and onnxruntime take 120, torch 400.
LIMITS = {
    400: ["image: a folder of bombs", "onnx: a card that is deep", "onnx: a card of 9 MB", "coco: a device",
          "yolo: billion laughs"],
    900: ["config: billion laughs, merged", "checkpoint: compressed", "checkpoint: records over one another",
          "checkpoint: a config that multiplies", "checkpoint: an input without end"],
}  # fmt: skip
# VmHWM begins anew with a program; ru_maxrss goes on from what the tests' own process took before the fork.
_RUN = """
import json, os, sys
from nanogfl.cli.main import main
for folder, arguments in json.loads(sys.argv[1]):
    os.chdir(folder)
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as ended:
        print(ended.code)
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024)
"""


def run(code, folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "export", "deploy"))}
    environment.pop("OPENCV_IO_MAX_IMAGE_PIXELS", None)  # which this process has set
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, cwd=folder, env=environment, check=False, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
    )  # fmt: skip


@pytest.mark.parametrize("limit", LIMITS)
def test_bombs_take_no_memory(limit, tmp_path):
    calls = [(str(tmp_path / str(n)), BY_NAME[name].build(tmp_path / str(n))) for n, name in enumerate(LIMITS[limit])]
    done = run(_RUN, tmp_path, json.dumps(calls))
    *codes, peak = map(int, done.stdout.split())
    assert codes == [2] * len(calls), done.stderr
    assert len(done.stderr.splitlines()) == len(calls), done.stderr
    assert peak < limit


# 100 MB of addresses for each picture of 0.6 to 2.7 GB; a sentence about too little memory is not good enough.
_DECODE = """
import os
os.environ["OPENCV_LOG_LEVEL"] = "OFF"
from pathlib import Path
from resource import RLIMIT_AS, setrlimit
from nanogfl.data.readers.image_sizes import image_sizes
from nanogfl.errors import UserError
from nanogfl.io.images import read_frame
paths = sorted(Path().iterdir())
image_sizes(paths[:1], Path())  # what is loaded once
with open("/proc/self/status") as status:
    used = 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmSize"))
setrlimit(RLIMIT_AS, (used + (100 << 20),) * 2)
for path in paths:
    try:
        print(path.name, read_frame(path).shape)
    except UserError as error:
        print(error)
for size in image_sizes(paths, Path()):
    print(size)
"""


def test_bombs_of_every_format_are_refused_within_100_mb_by_the_decoder_and_the_readers(tmp_path):
    for name, content in {**BOMBS, **REFUSED}.items():
        assert len(content) < 31_000, name
        write(tmp_path / name, content)
    done = run(_DECODE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower().replace("libpng warning", "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len([*BOMBS, *REFUSED])
    for line in lines:
        name = next(name for name in sorted({**BOMBS, **REFUSED}, key=len, reverse=True) if line.startswith(name))
        assert ("200000000" if name in BOMBS else "is not an image") in line, line
