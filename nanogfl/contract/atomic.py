"""Writing a file so that its name holds the whole of it or what was there before, after a power cut as well."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nanogfl.contract.errors import UserError


@contextmanager
def atomic_path(target: Path | str, *, keep_as: Path | None = None) -> Iterator[Path]:
    """Yields a temporary path beside `target`, with its suffix; renamed onto it at the end, removed on any error.

    The file is on the disk before it has the name, and the name before this returns. `keep_as`: a path in the same
    folder that what was there before is renamed to.

    Raises UserError where the folder cannot be made or written to, or the disk is full.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}") from None
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp made it private
        if keep_as is not None and target.exists():
            os.replace(target, keep_as)
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}; nothing was changed") from error
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)


def remove_unfinished(target: Path) -> None:
    """Temporary files of `target` that a kill left. Only for who knows that nobody else is writing it."""
    ours = re.compile(re.escape(f".{target.stem}-") + "[a-z0-9_]{8}" + re.escape(target.suffix))  # as mkstemp names
    for path in target.parent.iterdir():
        if ours.fullmatch(path.name):
            path.unlink()


def sync_folder(folder: Path) -> None:
    """The names in it are on the disk."""
    if os.name != "posix":  # Windows has no such thing
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that know no such thing either
            raise UserError(f"folder {folder} cannot be written to: {error.strerror}") from error
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
