"""Reading takes the memory of the file that is there, and no more of it than allowed."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanogfl.errors import UserError
from nanogfl.io.read_file import read_bounded

ROOT = Path(__file__).parents[2]
# Address space beyond what the imports take.
_LIMITED = """
import resource, sys
from nanogfl.io.images import read_frame
from nanogfl.data.readers.coco import read_annotations
with open("/proc/self/status") as status:
    taken = next(int(line.split()[1]) for line in status if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[1]), taken + int(sys.argv[1])))
print(read_frame(sys.argv[2]).shape, len(read_annotations(sys.argv[3])["images"]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is read from Linux's /proc")
def test_a_picture_and_a_json_are_read_with_little_address_space(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8))
    (tmp_path / "a.json").write_text('{"images": [{}], "annotations": [], "categories": []}')
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, "64000000", str(tmp_path / "a.jpg"), str(tmp_path / "a.json")],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "(120, 160, 3) 1\n"), done.stderr


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_a_file_is_read_completely_up_to_the_limit(tmp_path, size):
    (tmp_path / "x").write_bytes(bytes(range(size)))
    assert read_bounded(tmp_path / "x", "file", 100) == bytes(range(size))


def test_a_larger_file_is_refused_without_reading_it(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="more than 100 bytes"):
        read_bounded(tmp_path / "sparse", "file", 100)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's /proc states no sizes")
def test_a_file_without_a_size_is_read_completely_up_to_the_limit():
    whole = read_bounded("/proc/self/status", "file", 1_000_000)
    assert whole.startswith(b"Name:")
    assert b"VmPeak" in whole
    with pytest.raises(UserError, match="more than 100 bytes"):
        read_bounded("/proc/self/status", "file", 100)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="a device or a pipe"):
        read_bounded(tmp_path / "pipe", "file", 100)
