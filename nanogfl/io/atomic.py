"""Writing a file so that its name holds the whole of it or what was there before, after a power cut as well."""

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

_PART, _KEPT = ".part", ".kept"  # of a model, picture or list that nobody may take for a whole one
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)  # file systems without it; a folder closed to reading


@contextmanager
def atomic_path(target: Path | str, *, keep_as: Path | None = None, recording: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `target`; renamed onto it at the end, removed on any error.

    Its suffix is .part, whatever the target's is: tell a library that goes by suffixes which format to write. What a
    killed writer of the same target has left is removed. The file is on the disk before it has the name, and the name
    before this returns. `keep_as`: a path in the same folder that gets what was there before. `recording`: what a
    killed writer has left stays, for it may be all there is of what a camera saw; the temporary path then ends in the
    target's suffix, by which OpenCV writes a video.

    Raises UserError where the folder cannot be made or written to, or the disk is full, and for every other OSError.
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
    """What killed writers of `target` have left. Only for who knows that nobody else is writing it."""
    for number in count(1):
        temporary = _part(target, number)
        if not os.path.lexists(temporary):
            temporary.with_suffix(_KEPT).unlink(missing_ok=True)
            return
        _remove_abandoned(temporary)


def sync_folder(folder: Path) -> None:
    """The names in it are on the disk."""
    if os.name != "posix":  # Windows has no such thing
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
    """An empty file, and its open handle, whose lock says that its writer lives."""
    for number in count(1):
        temporary = _part(target, number, target.suffix if recording else "")
        if os.path.lexists(temporary) and (recording or not _remove_abandoned(temporary)):
            continue  # another process writes the same target at this moment
        try:
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        if _lock(handle) is not False and _is_at(temporary, handle):
            return temporary, handle
        os.close(handle)  # another process took it for abandoned before it was locked
    raise AssertionError("numbers do not end")


def _remove_abandoned(temporary: Path) -> bool:
    """False where its writer may live, or it is not ours to remove."""
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
    """False where another one holds it; None where there are no locks: on Windows and on some file systems."""
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
    """A second name for it, which costs nothing, or a copy where the file system knows no second names."""
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
    """Names the file that the system refused, which may be one that was read for the new content."""
    reason, named = error.strerror or error, error.filename
    if isinstance(named, str | os.PathLike) and Path(named) not in ours:
        return f"{target} was not written, because of {named} ({reason}); nothing was changed"
    return f"{target} cannot be written: {reason}; nothing was changed"
