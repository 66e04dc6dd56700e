"""Files that are whole or not there, and the order in which they reach the disk."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path, remove_unfinished, sync_folder

ROOT = Path(__file__).parents[2]


def write(target: Path, text: str, keep_as: Path | None = None) -> None:
    with atomic_path(target, keep_as=keep_as) as temporary:
        temporary.write_text(text)


def test_the_file_before_is_kept_under_another_name(tmp_path):
    last, before = tmp_path / "last.pt", tmp_path / "previous.pt"
    for text in "abc":
        write(last, text, before)
    assert (last.read_text(), before.read_text()) == ("c", "b")
    last.unlink()
    write(last, "d", before)
    assert (last.read_text(), before.read_text()) == ("d", "b")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(os.name != "posix", reason="folders are synced on POSIX systems")
def test_a_file_is_on_the_disk_before_its_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    write(tmp_path / "x.txt", "old")
    done: list[str] = []
    replace, fsync = os.replace, os.fsync

    def noted_replace(source, target):
        done.append(f"{Path(target).name}")
        replace(source, target)

    def noted_fsync(handle):
        name = Path(os.readlink(f"/proc/self/fd/{handle}"))
        done.append("sync folder" if name == tmp_path else "sync file")
        if name != tmp_path:
            assert name.read_text() == "new"
        fsync(handle)

    monkeypatch.setattr(os, "replace", noted_replace)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    write(tmp_path / "x.txt", "new", tmp_path / "y.txt")
    assert done == ["sync file", "x.txt", "y.txt", "sync folder"]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_what_was_there(tmp_path, monkeypatch, name):
    write(tmp_path / "x.txt", "old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, name, full)
    with pytest.raises(UserError, match=r"x\.txt cannot be written: No space left on device; nothing was changed"):
        write(tmp_path / "x.txt", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.txt", "old")]


def test_file_systems_that_cannot_sync_a_folder_are_written_to_and_faults_are_said(tmp_path, monkeypatch):
    for code, refused in ((errno.EINVAL, False), (errno.EIO, True)):

        def failing(_, code=code):
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            if refused:
                with pytest.raises(UserError, match="Input/output error"):
                    sync_folder(tmp_path)
            else:
                sync_folder(tmp_path)


@pytest.mark.parametrize("links", [True, False])
def test_a_rename_that_fails_leaves_both_files_as_they_were(tmp_path, monkeypatch, links):
    last, before = tmp_path / "last.pt", tmp_path / "previous.pt"
    for text in "ab":
        write(last, text, before)

    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        if not links:
            patch.setattr(os, "link", refuse)
        with pytest.raises(UserError, match=r"last\.pt cannot be written: .*; nothing was changed"):
            write(last, "c", before)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"last.pt": "b", "previous.pt": "a"}
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    write(last, "c", before)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"last.pt": "c", "previous.pt": "b"}


def test_a_kill_between_the_two_renames_leaves_both_names(tmp_path, monkeypatch):
    last, before = tmp_path / "last.pt", tmp_path / "previous.pt"
    for text in "ab":
        write(last, text, before)
    replace = os.replace

    def killed_after(source, target):
        replace(source, target)
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):  # noqa: PT012
        patch.setattr(os, "replace", killed_after)
        write(last, "c", before)
    assert (last.read_text(), before.read_text()) == ("c", "a")


def test_a_file_that_was_read_for_the_new_content_is_blamed_by_its_own_name(tmp_path):
    with pytest.raises(UserError) as raised, atomic_path(tmp_path / "x.txt") as temporary:
        temporary.write_text((tmp_path / "source.json").read_text())
    assert "source.json" in str(raised.value)
    assert "x.txt cannot" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_folders_and_pipes_are_never_replaced(tmp_path, kind):
    target = tmp_path / "out"
    target.mkdir() if kind == "folder" else os.mkfifo(target)
    with pytest.raises(UserError, match=f"out cannot be written: it is .*{kind}"):
        write(target, "text")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


KILLED = """
import os, signal, sys
from nanogfl.io.atomic import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("not verified")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_leftovers_of_a_killed_writer_have_another_suffix_and_are_removed_by_the_next_one(tmp_path):
    target, other = tmp_path / "m.onnx", tmp_path / "m.pt"
    for path in (target, other):
        assert subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False).returncode == -9
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 2
    assert not list(tmp_path.rglob("*.onnx"))
    assert not list(tmp_path.rglob("*.pt"))
    write(target, "whole")
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names & left) == 1  # the other target's
    assert target.read_text() == "whole"
    remove_unfinished(other)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    target = tmp_path / "m.onnx"
    with atomic_path(target) as first:
        first.write_text("first")
        with atomic_path(target) as second:
            second.write_text("second")
            remove_unfinished(target)
            assert first.read_text() == "first"
        assert target.read_text() == "second"
    assert target.read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_without_locks_leftovers_are_kept(tmp_path, monkeypatch):
    """On Windows and some network file systems nobody can know whether its writer lives."""
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "m.onnx")], cwd=ROOT, check=False)
    (left,) = tmp_path.iterdir()
    monkeypatch.setattr("nanogfl.io.atomic._lock", lambda _: None)
    write(tmp_path / "m.onnx", "whole")
    assert left.read_text() == "not verified"
    assert (tmp_path / "m.onnx").read_text() == "whole"


def test_only_its_own_unfinished_files_are_removed(tmp_path):
    others = {".last-notes.pt", ".last.pt.notes.part", ".best.pt.1.part", "last.pt.1.part", ".last.more.pt.1.part"}
    for name in (*others, ".last.pt.1.part", ".last.pt.2.part", ".last.pt.1.kept"):
        (tmp_path / name).write_text("")
    remove_unfinished(tmp_path / "last.pt")
    assert {path.name for path in tmp_path.iterdir()} == others


def test_a_new_file_has_the_users_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "x.txt", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640
