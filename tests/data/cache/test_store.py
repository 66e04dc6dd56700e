"""The shared store decodes each content once, and survives kills, other processes and damage."""

import errno
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanogfl.config import DataConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.cache import index as frame_index
from nanogfl.data.cache import store as frame_store
from nanogfl.data.cache.frames import open_frames
from nanogfl.errors import UserError
from nanogfl.io.image_notes import LITTLE_RANGE
from tests.data.image_sets import LETTERBOX, SPEC, assert_holds, data_set, image_files, write_image

SLOT_BYTES = 64 * 96 * 3


@pytest.fixture
def open_set(tmp_path):
    """Opens and checks every pixel."""

    def opened(paths, spec=SPEC, **more):
        dataset, frames = open_frames(
            data_set(paths), spec, DataConfig(cache="memmap", cache_dir=str(tmp_path / "cache")), **more
        )
        assert_holds(frames, dataset, spec)
        assert len(dataset.images) == len(paths)
        return frames

    return opened


@pytest.fixture
def paths(tmp_path):
    return image_files(tmp_path / "images", 7)


def store(tmp_path):
    (folder,) = (tmp_path / "cache").iterdir()
    return folder


def test_a_second_run_reads_no_file(open_set, paths, monkeypatch):
    assert open_set(paths).decoded == 7
    monkeypatch.setattr(frame_store, "read_content", lambda path: pytest.fail(f"{path} was read"))
    assert open_set(paths).decoded == 0


def test_just_the_changed_file_is_decoded_and_an_older_run_keeps_its_pixels(open_set, paths):
    before = open_set(paths)
    held = np.array(before.slots)
    stat = paths[3].stat()
    write_image(paths[3], 99)
    os.utime(paths[3], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = open_set(paths)
    assert after.decoded == 1
    assert [int(s) for s in np.flatnonzero(before.slot_of != after.slot_of)] == [3]
    assert np.array_equal(before.slots, held)


def test_a_change_of_size_alone_is_seen(open_set, paths):
    open_set(paths)
    stat = paths[3].stat()
    paths[3].write_bytes(paths[4].read_bytes() + b"trailing")
    os.utime(paths[3], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert open_set(paths).decoded == 1


def test_touched_moved_and_doubled_files_are_not_decoded_again(open_set, paths, tmp_path):
    open_set(paths)
    os.utime(paths[0], ns=(1, 1))
    moved = tmp_path / "elsewhere" / "moved.png"
    moved.parent.mkdir()
    paths[1].rename(moved)
    double = Path(shutil.copy(paths[2], tmp_path / "elsewhere" / "double.png"))
    frames = open_set([paths[0], moved, paths[2], double])
    assert frames.decoded == 0
    assert frames.slot_of[2] == frames.slot_of[3]


def test_two_equal_new_files_share_a_slot(open_set, paths):
    paths[5].write_bytes(paths[0].read_bytes())
    frames = open_set(paths)
    assert frames.decoded == 6
    assert frames.slot_of[5] == frames.slot_of[0]
    assert len(set(frames.slot_of.tolist())) == 6


def test_a_broken_file_is_remembered_by_its_content_and_a_mended_one_is_seen(open_set, paths, tmp_path, monkeypatch):
    paths[2].write_bytes(b"broken")
    config = DataConfig(cache="memmap", cache_dir=str(tmp_path / "cache"))
    first = open_frames(data_set(paths), SPEC, config)[0]
    other = tmp_path / "other.png"
    other.write_bytes(b"broken")
    with monkeypatch.context() as patch:
        patch.setattr(frame_store, "decode_picture", lambda content: pytest.fail("decoded again"))
        assert open_frames(data_set(paths), SPEC, config)[0].problems == first.problems
        kept, _ = open_frames(data_set([paths[0], other]), SPEC, config)
    assert [problem.where for problem in kept.problems] == ["other.png"]
    assert f"{other} is not an image" in kept.problems[0].reason  # the sentence names the file that it is about
    write_image(paths[2], 2)
    assert open_set(paths).decoded == 1


def test_other_settings_have_their_own_folder_and_a_stretched_slot_knows_no_padding(open_set, paths, tmp_path):
    other_mean = (1.0, 2.0, 3.0)
    for spec, decoded in (
        (SPEC, 7),
        (InputSpec(hw=(96, 64)), 7),
        (LETTERBOX, 7),
        (InputSpec(hw=(64, 96), resize="letterbox", mean=other_mean), 7),
        (InputSpec(hw=(64, 96), mean=other_mean), 0),
    ):
        assert open_set(paths, spec).decoded == decoded
    names = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert len(names) == 4
    assert all("-opencv5." in name for name in names)


def test_a_map_stays_right_while_the_file_grows(open_set, paths, tmp_path):
    few = open_set(paths[:3])
    held = np.array(few.slots)
    more = open_set(image_files(tmp_path / "more", 9, first_seed=50) + paths)
    assert more.decoded == 13
    assert few.slots.shape[0] == 3
    assert np.array_equal(few.slots, held)


# A process of its own: builds the store of the images in argv[2], one slot a transaction, and prints how many it
# decoded and the hash of what it then reads. It is told to die by its own hand after the pixels of slot argv[3].
PROCESS = """
import hashlib, os, signal, sys, time
from pathlib import Path
from nanogfl.config import DataConfig
from nanogfl.data.cache import store as frame_store
from nanogfl.data.cache.frames import open_frames
from tests.data.image_sets import SPEC, data_set
cache, images, last, partner = sys.argv[1:]
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
print(frames.decoded, digest.hexdigest())
"""


def start(tmp_path, last=-1, partner=""):
    roots = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(tmp_path / "cache"), str(tmp_path / "images"), str(last), partner],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), roots])},
    )


def rows(tmp_path):
    (index,) = store(tmp_path).glob("index-*.sqlite")
    connection = sqlite3.connect(index)
    found = connection.execute("SELECT slot FROM contents ORDER BY slot").fetchall()
    connection.close()
    return [slot for (slot,) in found]


def test_a_killed_build_is_taken_up_where_it_was(open_set, paths, tmp_path):
    process = start(tmp_path, last=3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    # three images are known; the fourth's pixels are on the disk, unknown
    assert next(store(tmp_path).glob("slots-*.u8")).stat().st_size == 4 * SLOT_BYTES
    write_image(paths[3], 77)  # so that what is left in slot 3 is wrong
    assert open_set(paths).decoded == 4
    assert rows(tmp_path) == list(range(7))


def test_two_processes_that_build_at_once_are_both_right_and_store_each_image_once(paths, tmp_path, open_set):
    count = len(image_files(tmp_path / "images", 25, first_seed=10)) + len(paths)
    processes = [start(tmp_path, partner="yes") for _ in range(2)]
    results = []
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        results.append(output.split())
    frames = open_set(sorted((tmp_path / "images").iterdir()))
    digest = hashlib.sha256()
    for index in range(count):
        digest.update(frames.get(index).tobytes())
    assert [hashed for _, hashed in results] == [digest.hexdigest()] * 2
    assert sum(int(decoded) for decoded, _ in results) == count
    assert rows(tmp_path) == list(range(count))


def overwrite(path, start, content):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def overwrite_files_table(path):
    """Damage that opening the index does not meet."""
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'files'").fetchone()
    connection.close()
    overwrite(path, 4096 * (page - 1), b"\xa5" * 4096)


def replace_by_another(path):
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE contents (recipe TEXT)")
    connection.close()


DAMAGES = {
    "random bytes": lambda path: path.write_bytes(np.random.default_rng(0).bytes(9000)),
    "no header": lambda path: overwrite(path, 0, bytes(100)),
    "no pages": lambda path: overwrite(path, 4096, b"\xa5" * (path.stat().st_size - 4096)),
    "no table of files": overwrite_files_table,
    "of something else": replace_by_another,
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_index_is_replaced_and_an_older_run_keeps_its_pixels(open_set, paths, tmp_path, damage):
    frames = open_set(paths)
    held = np.array(frames.slots)
    for _ in range(2):
        (index,) = store(tmp_path).glob("index-*.sqlite")
        damage(index)
        assert open_set(paths[::-1]).decoded == 7  # in another order: other pixels in slot 0
        assert open_set(paths).decoded == 0
        assert np.array_equal(frames.slots, held)
        names = sorted(path.name for path in store(tmp_path).iterdir())
        assert [name.split("-")[0] for name in names] == ["index", "lock.sqlite", "slots"]
        assert names[0].removesuffix("sqlite")[5:] == names[2].removesuffix("u8")[5:]


def test_who_finds_the_damage_second_leaves_the_new_index_alone(open_set, paths, tmp_path):
    open_set(paths)
    overwrite_files_table(store(tmp_path) / "index-1.sqlite")
    open_set(paths)
    frame_index.replace_files(store(tmp_path), 1, SLOT_BYTES)
    assert (store(tmp_path) / "index-2.sqlite").is_file()
    assert open_set(paths).decoded == 0


def test_a_file_that_was_known_and_is_gone_is_missing(paths, tmp_path):
    paths[1].write_bytes(b"")
    os.utime(paths[1], ns=(0, 0))
    config = DataConfig(cache="memmap", cache_dir=str(tmp_path / "cache"))
    open_frames(data_set(paths), SPEC, config)
    for path in paths[:2]:
        path.unlink()
    kept, _ = open_frames(data_set(paths), SPEC, config)
    assert [image.id for image in kept.images] == [2, 3, 4, 5, 6]
    assert all("does not exist" in problem.reason for problem in kept.problems)


@pytest.mark.parametrize(("left", "lost"), [(3 * SLOT_BYTES, 4), (3 * SLOT_BYTES + 5, 4), (0, 7), (None, 7)])
def test_what_a_shortened_pixel_file_has_lost_is_decoded_again(open_set, paths, tmp_path, left, lost):
    open_set(paths)
    (file,) = store(tmp_path).glob("slots-*.u8")
    if left is None:
        file.unlink()
    else:
        os.truncate(file, left)
    assert open_set(paths).decoded == lost
    assert open_set(paths).decoded == 0


def refused(open_set, paths):
    with pytest.raises(UserError) as refusal:
        open_set(paths)
    text = str(refusal.value)
    assert "\n" not in text
    assert "data.cache_dir" in text
    return text


def test_a_folder_that_cannot_be_made_is_one_sentence(open_set, paths, tmp_path):
    (tmp_path / "cache").write_text("a file")
    text = refused(open_set, paths)
    assert "cannot be used (Not a directory)" in text
    assert "data.cache to memory" in text


def test_an_index_that_cannot_be_opened_is_one_sentence(open_set, paths, tmp_path):
    open_set(paths)
    (index,) = store(tmp_path).glob("index-*.sqlite")
    index.unlink()
    index.mkdir()
    assert "unable to open database file" in refused(open_set, paths)


def test_a_store_that_another_process_holds_is_one_sentence(open_set, paths, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_index, "WAIT_S", 0.05)
    open_set(paths[:2])
    (index,) = store(tmp_path).glob("index-*.sqlite")
    holder = sqlite3.connect(index, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert open_set(paths[:2]).decoded == 0  # reading is free
    assert "database is locked" in refused(open_set, paths)
    holder.rollback()
    holder.close()
    opening = sqlite3.connect(store(tmp_path) / "lock.sqlite", isolation_level=None)
    opening.execute("BEGIN EXCLUSIVE")
    assert "database is locked" in refused(open_set, paths)
    opening.close()
    assert open_set(paths).decoded == 5


def test_a_disk_without_the_space_is_refused_before_decoding(open_set, paths, monkeypatch):
    open_set(paths[:2])
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5 * SLOT_BYTES))
    assert open_set(paths).decoded == 5
    more = image_files(paths[0].parent / "more", 6, first_seed=40)
    for number, path in enumerate(more, 1):  # a file of a size seen before may be a copy and is not counted
        path.write_bytes(path.read_bytes() + bytes(1000 * number))
    monkeypatch.setattr(frame_store, "decode_picture", lambda content: pytest.fail("decoded"))
    text = refused(open_set, paths + more)
    assert f"needs {6 * SLOT_BYTES:,} bytes for 6 images, but its disk has {5 * SLOT_BYTES:,} free" in text


def test_a_disk_that_fills_up_leaves_nothing_wrong_behind(open_set, paths, monkeypatch, tmp_path):
    monkeypatch.setattr(frame_store, "COMMIT_BYTES", 1)
    real, written = os.fsync, []

    def full(handle):
        written.append(handle)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "No space left on device" in refused(open_set, paths)
    assert rows(tmp_path) == [0, 1, 2]
    assert open_set(paths).decoded == 4


# Damaged pixels -----------------------------------------------------------------------------------------------------


def reopened(paths, tmp_path):
    return open_frames(data_set(paths), SPEC, DataConfig(cache="memmap", cache_dir=str(tmp_path / "cache")))


@pytest.mark.parametrize("times", [1, 2])
def test_pixels_that_changed_on_the_disk_are_decoded_anew_and_that_is_said(open_set, paths, tmp_path, times):
    whole = open_set(paths).digest()
    (pixels,) = store(tmp_path).glob("slots-*.u8")
    for _ in range(times):
        overwrite(pixels, 2 * SLOT_BYTES + 100, bytes(64))  # zeroed
        overwrite(pixels, pixels.stat().st_size - 1, b"\x5b")  # a byte of the last one
        dataset, frames = reopened(paths, tmp_path)
        assert_holds(frames, dataset, SPEC)
        named = {problem.where for problem in dataset.problems if problem.reason.startswith("damaged frame")}
        assert paths[-1].name in named
        assert frames.decoded == len(named)
        assert len(dataset.problems) == len(named) in (1, 2)
        assert frames.digest() == whole
    assert reopened(paths, tmp_path)[0].problems == ()
    assert open_set(paths).decoded == 0


def test_a_moved_file_whose_pixels_changed_is_decoded_anew(open_set, paths, tmp_path):
    open_set(paths)
    overwrite(next(store(tmp_path).glob("slots-*.u8")), SLOT_BYTES, bytes(SLOT_BYTES))
    moved = [path.rename(path.with_name(f"moved-{path.name}")) for path in paths]
    dataset, frames = reopened(moved, tmp_path)
    assert_holds(frames, dataset, SPEC)
    assert [problem.where for problem in dataset.problems] == ["moved-001.png"]


def test_a_damaged_slot_is_not_given_to_another_image(open_set, paths, tmp_path):
    held = open_set(paths)
    overwrite(next(store(tmp_path).glob("slots-*.u8")), 6 * SLOT_BYTES, bytes(SLOT_BYTES))  # the last one
    after = open_set(paths)
    assert after.slot_of.tolist() == [*range(6), 7]
    assert not held.slots[6].any()  # whoever has mapped it sees the damage, and never another picture
    assert rows(tmp_path) == list(range(8))


@pytest.mark.parametrize("kind", ["memory", "device"])
def test_the_digest_is_of_the_pixels_in_their_order_whichever_cache_holds_them(open_set, paths, tmp_path, kind):
    frames = open_set(paths)
    other = open_frames(data_set(paths), SPEC, DataConfig(cache=kind))[1]
    assert frames.digest() == other.digest() is not None
    assert open_set(paths[::-1]).digest() != frames.digest()
    write_image(paths[3], 99)
    assert open_set(paths).digest() != frames.digest()
    assert open_frames(data_set(paths), SPEC, DataConfig(cache="off"))[1].digest() is None


def test_notes_are_remembered_with_the_pixels(paths, tmp_path):
    counts = np.random.default_rng(0).integers(0, 4096, cv2.imread(str(paths[2])).shape[:2]).astype(np.uint16)
    cv2.imwrite(str(paths[2]), counts)
    for decoded in (7, 0):
        dataset, frames = reopened(paths, tmp_path)
        assert frames.decoded == decoded
        assert [problem.where for problem in dataset.problems] == [paths[2].name]
        assert dataset.problems[0].reason.startswith(LITTLE_RANGE)
