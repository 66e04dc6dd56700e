"""The shared store decodes each content once, and survives kills, other processes and damage."""

import errno
import hashlib
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
from filelock import FileLock

from nanogfl.config import DataConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.cache import index as store_index
from nanogfl.data.cache import store as frame_store
from nanogfl.data.cache.frames import open_frames
from nanogfl.errors import UserError
from nanogfl.io.image_notes import LITTLE_RANGE
from tests.data.image_sets import LETTERBOX, SPEC, assert_holds, data_set, image_files, write_image

SLOT_BYTES = 64 * 96 * 3


def store(tmp_path):
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    return folder


def pixel_file(tmp_path):
    (file,) = store(tmp_path).glob("slots-*.u8")
    return file


def index_file(tmp_path):
    (file,) = store(tmp_path).glob("index-*.sqlite")
    return file


def used_slots(tmp_path):
    connection = sqlite3.connect(index_file(tmp_path))
    found = connection.execute("SELECT slot FROM contents ORDER BY slot").fetchall()
    connection.close()
    return [slot for (slot,) in found]


def overwrite(path, start, content):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def test_a_second_run_reads_no_file(open_set, paths, monkeypatch):
    assert open_set(paths).decoded == 7
    monkeypatch.setattr(frame_store, "read_content", lambda path: pytest.fail(f"{path} was read"))
    assert open_set(paths).decoded == 0


def test_only_the_changed_file_is_decoded_and_an_older_run_keeps_its_pixels(open_set, paths):
    before = open_set(paths)
    held = np.array(before.slots)
    stat = paths[3].stat()
    write_image(paths[3], 99)
    os.utime(paths[3], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = open_set(paths)
    assert after.decoded == 1
    assert np.flatnonzero(before.slot_of != after.slot_of).tolist() == [3]
    stat = paths[4].stat()
    paths[4].write_bytes(paths[5].read_bytes() + b"trailing")
    os.utime(paths[4], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert open_set(paths).decoded == 1  # its size alone changed
    assert np.array_equal(before.slots, held)


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


def test_a_broken_file_is_remembered_by_its_content_and_a_repaired_one_is_seen(open_set, paths, tmp_path, monkeypatch):
    paths[2].write_bytes(b"broken")
    first = reopened(paths, tmp_path)[0]
    other = tmp_path / "other.png"
    other.write_bytes(b"broken")
    with monkeypatch.context() as patch:
        patch.setattr(frame_store, "decode_picture", lambda content: pytest.fail("decoded again"))
        assert reopened(paths, tmp_path)[0].problems == first.problems
        kept, _ = reopened([paths[0], other], tmp_path)
    assert [problem.where for problem in kept.problems] == ["other.png"]
    assert f"{other} is not an image" in kept.problems[0].reason  # the sentence names the file that it is about
    write_image(paths[2], 2)
    assert open_set(paths).decoded == 1


def test_inputs_of_another_size_or_padding_have_a_store_of_their_own(open_set, paths, tmp_path):
    other_mean = (1.0, 2.0, 3.0)
    for spec, decoded in (
        (SPEC, 7),
        (InputSpec(hw=(96, 64)), 7),
        (LETTERBOX, 7),
        (InputSpec(hw=(64, 96), resize="letterbox", mean=other_mean), 7),
        (InputSpec(hw=(64, 96), mean=other_mean), 0),  # a stretched slot has no padding
    ):
        assert open_set(paths, spec).decoded == decoded
    names = [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert len(names) == 4
    assert all("-opencv5." in name for name in names)


def test_a_map_stays_right_while_the_file_grows(open_set, paths, tmp_path):
    few = open_set(paths[:3])
    held = np.array(few.slots)
    assert open_set(image_files(tmp_path / "more", 9, first_seed=50) + paths).decoded == 13
    assert few.slots.shape[0] == 3
    assert np.array_equal(few.slots, held)


def test_a_killed_build_is_taken_up_where_it_was(open_set, paths, tmp_path, start):
    process = start(last=3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    # three images are known; the fourth's pixels are on the disk, unknown
    assert pixel_file(tmp_path).stat().st_size == 4 * SLOT_BYTES
    write_image(paths[3], 77)  # so that what is left in slot 3 is wrong
    assert open_set(paths).decoded == 4
    assert used_slots(tmp_path) == list(range(7))


@pytest.mark.parametrize("limit", ["20", "0"])
def test_two_processes_that_build_at_once_are_both_right_and_store_each_image_once(
    paths, tmp_path, open_set, start, limit
):
    count = len(image_files(tmp_path / "images", 25, first_seed=10)) + len(paths)
    results = []
    for process in [start(partner="yes", NANOGFL_CACHE_LIMIT_GB=limit) for _ in range(2)]:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        results.append(output.split())
    frames = open_set(sorted((tmp_path / "images").iterdir()))
    digest = hashlib.sha256()
    for index in range(count):
        digest.update(frames.get(index).tobytes())
    assert [hashed for _, hashed in results] == [digest.hexdigest()] * 2
    assert sum(int(decoded) for decoded, _ in results) == count
    assert used_slots(tmp_path) == list(range(count))


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
        damage(index_file(tmp_path))
        assert open_set(paths[::-1]).decoded == 7  # in another order: other pixels in slot 0
        assert open_set(paths).decoded == 0
        assert np.array_equal(frames.slots, held)
        assert index_file(tmp_path).stem[6:] == pixel_file(tmp_path).stem[6:]


def test_who_finds_the_damage_second_leaves_the_new_index_alone(open_set, paths, tmp_path):
    open_set(paths)
    overwrite_files_table(store(tmp_path) / "index-1.sqlite")
    open_set(paths)
    store_index.replace_files(store(tmp_path), 1, SLOT_BYTES)
    assert (store(tmp_path) / "index-2.sqlite").is_file()
    assert open_set(paths).decoded == 0


def test_a_file_that_was_known_and_is_gone_is_missing(paths, tmp_path):
    paths[1].write_bytes(b"")
    os.utime(paths[1], ns=(0, 0))
    reopened(paths, tmp_path)
    for path in paths[:2]:
        path.unlink()
    kept, _ = reopened(paths, tmp_path)
    assert [image.id for image in kept.images] == [2, 3, 4, 5, 6]
    assert all("does not exist" in problem.reason for problem in kept.problems)


@pytest.mark.parametrize(("left", "lost"), [(3 * SLOT_BYTES + 5, 4), (0, 7), (None, 7)])
def test_what_a_shortened_pixel_file_has_lost_is_decoded_again(open_set, paths, tmp_path, left, lost):
    open_set(paths)
    if left is None:
        pixel_file(tmp_path).unlink()
    else:
        os.truncate(pixel_file(tmp_path), left)
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
    assert "data.cache to memory" in refused(open_set, paths)


def test_an_index_that_cannot_be_opened_is_one_sentence(open_set, paths, tmp_path):
    open_set(paths)
    index = index_file(tmp_path)
    index.unlink()
    index.mkdir()
    refused(open_set, paths)


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied"), NotImplementedError("no flock")])
def test_a_folder_without_permission_or_locks_is_one_sentence(open_set, paths, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert str(error.args[-1]) in refused(open_set, paths)


def test_a_store_that_another_process_holds_is_one_sentence(open_set, paths, tmp_path, monkeypatch):
    monkeypatch.setattr(store_index, "WAIT_S", 0.05)
    open_set(paths[:2])
    holder = sqlite3.connect(index_file(tmp_path), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert open_set(paths[:2]).decoded == 0  # reading is free
    assert "database is locked" in refused(open_set, paths)
    holder.rollback()
    holder.close()
    with FileLock(tmp_path / "cache" / "lock"):
        assert "lock" in refused(open_set, paths)
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
    assert f"{6 * SLOT_BYTES:,} bytes" in text
    assert f"{5 * SLOT_BYTES:,} free" in text


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
    assert used_slots(tmp_path) == [0, 1, 2]
    assert open_set(paths).decoded == 4


# Damaged pixels -----------------------------------------------------------------------------------------------------


def reopened(paths, tmp_path):
    return open_frames(data_set(paths), SPEC, DataConfig(cache="memmap", cache_dir=str(tmp_path / "cache")))


def test_pixels_that_changed_on_the_disk_are_decoded_again_and_that_is_said(open_set, paths, tmp_path):
    whole = open_set(paths).digest()
    for _ in range(2):
        overwrite(pixel_file(tmp_path), 2 * SLOT_BYTES + 100, bytes(64))  # zeroed
        overwrite(pixel_file(tmp_path), pixel_file(tmp_path).stat().st_size - 1, b"\x5b")  # a byte of the last one
        dataset, frames = reopened(paths, tmp_path)
        assert_holds(frames, dataset, SPEC)
        named = {problem.where for problem in dataset.problems if problem.reason.startswith("damaged frame")}
        assert paths[-1].name in named
        assert frames.decoded == len(named)
        assert len(dataset.problems) == len(named) in (1, 2)
        assert frames.digest() == whole
    assert reopened(paths, tmp_path)[0].problems == ()
    assert open_set(paths).decoded == 0


def test_a_moved_file_whose_pixels_changed_is_decoded_again(open_set, paths, tmp_path):
    open_set(paths)
    overwrite(pixel_file(tmp_path), SLOT_BYTES, bytes(SLOT_BYTES))
    moved = [path.rename(path.with_name(f"moved-{path.name}")) for path in paths]
    dataset, frames = reopened(moved, tmp_path)
    assert_holds(frames, dataset, SPEC)
    assert [problem.where for problem in dataset.problems] == ["moved-001.png"]


def test_a_damaged_slot_is_not_given_to_another_image(open_set, paths, tmp_path):
    held = open_set(paths)
    overwrite(pixel_file(tmp_path), 6 * SLOT_BYTES, bytes(SLOT_BYTES))  # the last one
    after = open_set(paths)
    assert after.slot_of.tolist() == [*range(6), 7]
    assert not held.slots[6].any()  # whoever has mapped it sees the damage, and never another picture
    assert used_slots(tmp_path) == list(range(8))


def test_the_digest_is_of_the_pixels_in_their_order_whichever_cache_holds_them(open_set, paths):
    frames = open_set(paths)
    for kind in ("memory", "device"):
        assert open_frames(data_set(paths), SPEC, DataConfig(cache=kind))[1].digest() == frames.digest() is not None
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
