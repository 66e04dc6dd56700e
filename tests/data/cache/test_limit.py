"""The size limit evicts what was not used longest, and nothing that anybody uses; a kill on the way loses nothing."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.cache import store as frame_store
from nanogfl.data.cache.limit import clear_stores, list_stores, read_limit
from nanogfl.errors import UserError
from tests.data.image_sets import image_files

# slots of the same size in three stores, beside which their indices are small
SPEC, TALL, WIDE = InputSpec(hw=(256, 384)), InputSpec(hw=(384, 256)), InputSpec(hw=(128, 768))
SLOT_BYTES = 256 * 384 * 3


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by 1000 seconds with each data set that is opened."""

    class Clock:
        seconds = 1_000_000
        localtime, strftime = time.localtime, time.strftime

        @classmethod
        def time(cls):
            cls.seconds += 1000
            return cls.seconds

    monkeypatch.setattr(frame_store, "time", Clock)


@pytest.fixture
def open_set(open_set):
    return lambda images, spec=SPEC: open_set(images, spec)


def images_of(folder, number):
    """Five images whose files have sizes of their own: a known size may be a copy, for which no room is made."""
    paths = image_files(folder, 5, first_seed=10 * number)
    for position, path in enumerate(paths):
        path.write_bytes(path.read_bytes() + bytes(1000 * (5 * number + position)))
    return paths


@pytest.fixture
def sets(tmp_path, clock):
    """Four data sets of five images each."""
    return [images_of(tmp_path / name, number) for number, name in enumerate("abcd")]


@pytest.fixture
def limited(monkeypatch, tmp_path):
    """Limits the cache to what it holds now and room for some more images."""

    def set_limit(images):
        nbytes = sum(store.nbytes for store in list_stores(tmp_path / "cache")) + images * SLOT_BYTES
        monkeypatch.setenv("NANOGFL_CACHE_LIMIT_GB", str(max(nbytes, 0) / 1e9))

    return set_limit


def sizes(tmp_path):
    """Number of images by the store's input size."""
    return {store.folder.name.split("-")[0]: store.images for store in list_stores(tmp_path / "cache")}


def test_what_was_not_used_longest_is_evicted_across_stores(open_set, sets, limited, tmp_path, capfd):
    a, b, c, d = sets
    for images, spec in ((a, SPEC), (b, SPEC), (c, TALL), (a, SPEC), (d, WIDE)):
        open_set(images, spec)
    limited(2)
    assert capfd.readouterr().err == ""
    open_set(images_of(tmp_path / "e", 4), WIDE)  # b alone was not used since c
    assert sizes(tmp_path) == {"384x256": 5, "256x384": 5, "768x128": 10}
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "evicted 1 MB" in said
    assert "1970-01-12" in said
    assert open_set(a).decoded == 0
    assert open_set(b).decoded == 5


def test_a_store_without_images_is_removed_and_the_disk_has_the_space_again(open_set, sets, limited, tmp_path):
    a, b, _, d = sets
    open_set(a, TALL)
    open_set(b, SPEC)
    limited(-1)
    open_set(d, WIDE)
    assert sizes(tmp_path) == {"768x128": 5}
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1


def test_the_own_store_is_shortened_and_what_is_wanted_stays(open_set, sets, limited, tmp_path):
    a, b, c, d = sets
    for images in (a, b, c):
        open_set(images)
    (store,) = (tmp_path / "cache").glob("384x256-*")
    limited(0)
    digest = open_set(b).digest()
    frames = open_set([*b, *d])  # a goes; b, used by this run, stays
    assert frames.decoded == 5
    assert next(store.glob("slots-*.u8")).stat().st_size == 15 * SLOT_BYTES
    assert open_set(c).decoded == 0
    assert open_set(b).digest() == digest
    limited(-5)
    open_set(a)  # in place of the next oldest
    assert open_set(a).decoded == 0


def test_evicted_images_have_the_same_digest_when_they_are_decoded_again(open_set, sets, limited):
    a, b, *_ = sets
    digest = open_set(a).digest()
    limited(0)
    open_set(b, TALL)
    frames = open_set(a)
    assert (frames.decoded, frames.digest()) == (5, digest)


def test_a_store_in_use_is_left_alone_as_long_as_a_view_of_it_lives(open_set, sets, limited, tmp_path, capfd):
    a, b, c, d = sets
    frames = open_set(a)
    view, held = frames.get(3), np.array(frames.get(3))
    del frames
    gc.collect()
    limited(-100)
    open_set(b, TALL)
    assert sizes(tmp_path) == {"384x256": 5, "256x384": 5}
    open_set(c)  # the own store, too
    assert sizes(tmp_path)["384x256"] == 10
    assert "more than its limit" in capfd.readouterr().err
    assert np.array_equal(view, held)
    del view
    gc.collect()
    open_set(d, WIDE)
    assert sizes(tmp_path) == {"768x128": 5}


def test_a_store_that_another_process_uses_is_left_alone_until_it_ends(open_set, sets, start, limited, tmp_path):
    process = start("a", wait="yes")
    assert process.stdout.readline().startswith("5 ")
    limited(-100)
    open_set(sets[1], TALL)
    assert sizes(tmp_path) == {"96x64": 5, "256x384": 5}
    assert [gone for _, gone in clear_stores(tmp_path / "cache")].count(False) == 1
    process.kill()  # its lock ends with it
    process.communicate(timeout=60)
    open_set(sets[2], WIDE)
    assert sizes(tmp_path) == {"768x128": 5}


def test_one_training_above_the_limit_runs_and_says_so(open_set, sets, monkeypatch, capfd):
    monkeypatch.setenv("NANOGFL_CACHE_LIMIT_GB", "0")
    assert open_set(sets[0]).decoded == 5
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "more than its limit" in said
    assert "NANOGFL_CACHE_LIMIT_GB" in said
    assert open_set(sets[0]).decoded == 0  # nothing is added: nothing is evicted or said
    assert capfd.readouterr().err == ""


def test_a_moved_data_set_is_not_evicted_for_itself(open_set, sets, limited):
    open_set(sets[0])
    limited(0)
    moved = [path.rename(path.with_name(f"moved-{path.name}")) for path in sets[0]]
    assert open_set(moved).decoded == 0


def test_stores_of_other_formats_are_evicted_whole_and_other_files_are_not_touched(open_set, sets, limited, tmp_path):
    cache = tmp_path / "cache"
    old = cache / "384x256-stretch-opencv5.0-v2"
    for folder in (old, cache / "384x256-stretch-opencv5.0-v2-mine", cache / "photos"):
        folder.mkdir(parents=True)
        (folder / "slots-1.u8").write_bytes(bytes(5 * SLOT_BYTES))
        os.utime(folder / "slots-1.u8", (5, 5))
    (old / "notes.txt").write_text("a stranger's")
    open_set(sets[0])
    limited(0)
    open_set(sets[1])
    assert [path.name for path in old.iterdir()] == ["notes.txt"]
    assert (cache / "384x256-stretch-opencv5.0-v2-mine/slots-1.u8").exists()
    assert (cache / "photos/slots-1.u8").exists()
    assert sizes(tmp_path)["384x256"] in (0, 10)


def test_what_may_not_be_removed_stays_and_the_training_runs(open_set, sets, limited, monkeypatch, tmp_path):
    open_set(sets[0], TALL)
    limited(-100)
    real = Path.unlink

    def refuse(path, **more):
        if "256x384" in str(path):
            raise PermissionError(13, "Permission denied")
        real(path, **more)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert open_set(sets[1]).decoded == 5
    assert sizes(tmp_path) == {"384x256": 5, "256x384": 5}


@pytest.mark.parametrize("written", ["", "20", " 0.5 ", "inf"])
def test_the_limit_is_gigabytes_from_the_environment(monkeypatch, written):
    monkeypatch.setenv("NANOGFL_CACHE_LIMIT_GB", written)
    assert read_limit() == {"": 20e9, "20": 20e9, " 0.5 ": 5e8, "inf": float("inf")}[written]


@pytest.mark.parametrize("written", ["many", "-1", "nan", "20 GB"])
def test_a_limit_that_is_no_number_is_one_sentence(monkeypatch, open_set, paths, written):
    monkeypatch.setenv("NANOGFL_CACHE_LIMIT_GB", written)
    with pytest.raises(UserError, match="NANOGFL_CACHE_LIMIT_GB must be"):
        open_set(paths)


# Opens the images of argv[2] and kills itself at the argv[3]th line that evicts anything.
KILLED = """
import os, signal, sys
from pathlib import Path
from nanogfl.config import DataConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.cache import limit
from nanogfl.data.cache.frames import open_frames
from tests.data.image_sets import data_set
cache, images, moment = sys.argv[1:]
lines = 0
def trace(frame, event, argument):
    global lines
    if frame.f_code.co_filename != limit.__file__ or frame.f_code.co_name not in ("_drop", "_remove"):
        return None
    lines += event == "line"
    if lines == int(moment):
        os.kill(os.getpid(), signal.SIGKILL)
    return trace
sys.settrace(trace)
spec = InputSpec(hw=(256, 384))
open_frames(data_set(sorted(Path(images).iterdir())), spec, DataConfig(cache="memmap", cache_dir=cache))
"""
MOMENTS = (3, 24)


@pytest.mark.parametrize(
    "moment", [*MOMENTS, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in range(1, 38) if n not in MOMENTS)]
)
def test_a_kill_during_the_eviction_leaves_the_cache_right(open_set, sets, tmp_path, moment, monkeypatch):
    a, b, c, d = sets
    open_set(a, TALL)  # removed whole
    open_set(b)  # forgotten, and the slots of c are moved
    open_set(c)
    total = sum(store.nbytes for store in list_stores(tmp_path / "cache"))
    roots = os.pathsep.join([str(Path(__file__).parents[3]), *(path for path in sys.path if path)])
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "cache"), str(d[0].parent), str(moment)],
        env={**os.environ, "PYTHONPATH": roots, "NANOGFL_CACHE_LIMIT_GB": str((total - 4 * SLOT_BYTES) / 1e9)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert open_set(c).decoded == 0  # never evicted
    assert open_set([*a, *b, *d]).decoded in (5, 10, 15)
    assert open_set([*a, *b, *c, *d]).decoded == 0
    assert open_set(a, TALL).decoded in (0, 5)
    monkeypatch.setenv("NANOGFL_CACHE_LIMIT_GB", "0")
    open_set(d, WIDE)
    assert sizes(tmp_path) == {"768x128": 5}
