"""Atomic files: a name holds either the complete new content or what it held before, even after a power cut."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from nanogfl.errors import UserError

if sys.platform != "win32":
    import fcntl

_PART, _KEPT = ".part", ".kept"  # suffixes that nobody takes for a complete model, picture or list
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)  # file systems without it; a folder closed to reading


@contextmanager
def atomic_path(target: Path | str, *, keep_as: Path | None = None, recording: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `target`, which is renamed to `target` at the end and removed on any error.

    The temporary path ends in .part: a library that goes by suffixes has to be told the format. Temporary files that
    killed writers of the same target left behind are removed. Content and name are on the disk when this returns.

    keep_as: a path in the same folder; it gets the file that `target` was before.
    recording: leftovers of killed writers stay, because they may be all that is left of what a camera saw, and the
    temporary path ends in the target's suffix, which decides the format in which OpenCV writes a video.

    Raises UserError if the folder cannot be created or written to, if the disk is full, and for any other OSError.
    """
    target = Path(target)
    try:
        if target.exists() and not target.is_file():
            kind = "a folder" if target.is_dir() else "a device or a pipe"
            raise UserError(f"{target} cannot be written: it is {kind}, the name of a file is expected")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = _new_part(target, recording)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}") from None
    kept = temporary.with_suffix(_KEPT)
    before = False
    with os.fdopen(handle, "rb+") as alive:
        if sys.platform == "win32":  # where an open file cannot be renamed, and there is no lock to hold
            alive.close()
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            before = keep_as is not None and target.exists()
            if before:
                _copy(target, kept)
            os.replace(temporary, target)
        except BaseException as error:
            kept.unlink(missing_ok=True)
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise UserError(_sentence(error, target, {temporary, target, kept})) from error
            raise
        if before and keep_as is not None:
            _keep(kept, keep_as, target)
    sync_folder(target.parent)


def remove_unfinished(target: Path) -> None:
    """Removes what killed writers of `target` left behind. The caller ensures that no other process is writing it."""
    for number in count(1):
        temporary = _part(target, number)
        if not os.path.lexists(temporary):
            temporary.with_suffix(_KEPT).unlink(missing_ok=True)
            return
        _remove_abandoned(temporary)


def sync_folder(folder: Path) -> None:
    """Writes the folder's names to the disk. Raises UserError if the disk fails."""
    if os.name != "posix":  # not possible on Windows
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise UserError(f"folder {folder} cannot be written to: {error.strerror}") from error


def _part(target: Path, number: int, suffix: str = "") -> Path:
    return target.with_name(f".{target.name}.{number}{_PART}{suffix}")


def _new_part(target: Path, recording: bool) -> tuple[Path, int]:
    """An empty file and its open handle. The handle's lock tells other processes that the writer is alive."""
    for number in count(1):
        temporary = _part(target, number, target.suffix if recording else "")
        if os.path.lexists(temporary) and (recording or not _remove_abandoned(temporary)):
            continue  # another process is writing the same target
        try:
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        if _lock(handle) is not False and _is_at(temporary, handle):
            return temporary, handle
        os.close(handle)  # another process took it for abandoned before it was locked
    raise AssertionError("count() does not end")


def _remove_abandoned(temporary: Path) -> bool:
    """False if its writer may be alive, or it cannot be removed."""
    try:
        handle = os.open(temporary, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        if not _lock(handle) or not _is_at(temporary, handle):
            return False
        temporary.with_suffix(_KEPT).unlink(missing_ok=True)
        temporary.unlink()
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _lock(handle: int) -> bool | None:
    """False if another process holds the lock; None where there are no locks: Windows, some file systems."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _copy(target: Path, kept: Path) -> None:
    """A hard link, or a copy where the file system has no hard links."""
    kept.unlink(missing_ok=True)
    try:
        os.link(target, kept)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(target, kept)
        with kept.open("rb+") as file:
            os.fsync(file.fileno())


def _keep(kept: Path, keep_as: Path, target: Path) -> None:
    try:
        os.replace(kept, keep_as)
    except OSError as error:
        kept.unlink(missing_ok=True)
        raise UserError(
            f"{target} is written, but what was there before cannot become {keep_as}: {error.strerror}"
        ) from error


def _sentence(error: OSError, target: Path, ours: set[Path]) -> str:
    """Names the file that the system refused: the target, or one that was read for the new content."""
    reason, named = error.strerror or error, error.filename
    if isinstance(named, str | os.PathLike) and Path(named) not in ours:
        return f"{target} was not written, because of {named} ({reason}); nothing was changed"
    return f"{target} cannot be written: {reason}; nothing was changed"
