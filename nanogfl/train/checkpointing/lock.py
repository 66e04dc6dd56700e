"""One training a run folder: a lock file that the kernel releases when its holder ends, however it ends."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nanogfl.errors import UserError

if sys.platform != "win32":
    import fcntl

_NAME = "train.lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Holds run_dir/train.lock (flock), which says whose it is. Raises UserError where another process holds it.

    On Windows, and on a file system without locks, nobody is kept out.
    """
    if sys.platform == "win32":
        yield
        return
    path = run_dir / _NAME
    try:
        file = _open(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another --run-dir") from None
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is still ours


def _open(path: Path) -> IO[bytes]:
    while True:
        file = path.open("ab+", buffering=0)
        try:
            _take(file, path)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # between our opening and our locking it, its holder ended and removed it


def _take(file: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().decode(errors="replace") or "another process"
        raise UserError(
            f"{holder} trains into {path.parent} at this moment: wait for it, end it, or choose another --run-dir"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
