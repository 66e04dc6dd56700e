"""A data set of seven images and a cache folder, opened in this process or in another one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanogfl.config import DataConfig
from nanogfl.data.cache.frames import open_frames
from tests.data.image_sets import SPEC, assert_holds, data_set, image_files

# A process of its own: opens the store of the images in argv[2], one slot per transaction, and prints how many it
# decoded and the hash of what it then reads. It kills itself after the pixels of slot argv[3]. With a partner it waits
# for another such process before it starts; with argv[5] it waits for a line of input in the end.
PROCESS = """
import hashlib, os, signal, sys, time
from pathlib import Path
from nanogfl.config import DataConfig
from nanogfl.data.cache import store as frame_store
from nanogfl.data.cache.frames import open_frames
from tests.data.image_sets import SPEC, data_set
cache, images, last, partner, wait = sys.argv[1:]
frame_store.COMMIT_BYTES = 1
real, written = os.fsync, []
def fsync(handle):
    real(handle)
    written.append(handle)
    if len(written) > int(last) >= 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = fsync
if partner:
    Path(f"{cache}.{os.getpid()}").touch()
    while len(list(Path(cache).parent.glob("cache.*"))) < 2:
        time.sleep(0.001)
dataset = data_set(sorted(Path(images).iterdir()))
_, frames = open_frames(dataset, SPEC, DataConfig(cache="memmap", cache_dir=cache))
digest = hashlib.sha256()
for index in range(len(dataset.images)):
    digest.update(frames.get(index).tobytes())
print(frames.decoded, digest.hexdigest(), flush=True)
if wait:
    sys.stdin.readline()
"""


@pytest.fixture
def paths(tmp_path):
    return image_files(tmp_path / "images", 7)


@pytest.fixture
def open_set(tmp_path):
    """Opens the images and checks every pixel."""

    def opened(paths, spec=SPEC, **more):
        dataset, frames = open_frames(
            data_set(paths), spec, DataConfig(cache="memmap", cache_dir=str(tmp_path / "cache")), **more
        )
        assert_holds(frames, dataset, spec)
        assert len(dataset.images) == len(paths)
        return frames

    return opened


@pytest.fixture
def start(tmp_path):
    """Starts PROCESS."""

    def run(images="images", *, last=-1, partner="", wait="", **environment):
        roots = os.pathsep.join([str(Path(__file__).parents[3]), *(path for path in sys.path if path)])
        arguments = [str(tmp_path / "cache"), str(tmp_path / images), str(last), partner, wait]
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": roots, **environment},
        )

    return run
