"""Files that are whole or not there, and the order in which they reach the disk."""

import errno
import os
from pathlib import Path

import pytest

from nanogfl.contract.atomic import atomic_path, remove_unfinished, sync_folder
from nanogfl.contract.errors import UserError


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
    assert done == ["sync file", "y.txt", "x.txt", "sync folder"]


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


def test_only_its_own_unfinished_files_are_removed(tmp_path):
    with atomic_path(tmp_path / "last.pt") as temporary:
        temporary.write_text("half")
        left = tmp_path / f"{temporary.name}"
        content = left.read_bytes()
    left.write_bytes(content)  # as a kill leaves it
    others = (".last-notes.pt", ".last-abcdefgh.txt", ".best-abcdefgh.pt", "last-abcdefgh.pt", ".last.more-abcdefgh.pt")
    for name in others:
        (tmp_path / name).write_text("")
    remove_unfinished(tmp_path / "last.pt")
    assert {path.name for path in tmp_path.iterdir()} == {"last.pt", *others}
