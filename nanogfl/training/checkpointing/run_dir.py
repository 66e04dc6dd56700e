"""The run folder: its files, its lock (one process at a time), and how to go on with the run in it."""

import errno
import os
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path, remove_unfinished, sync_folder

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"
CONFIG, LOG = "config.yaml", "log.jsonl"
CURVES, PICTURE, GAMMA = "curves.png", "validation.png", "gamma.png"
MEASURING = "measuring"
"""folder that exists while train.minutes measures what saving takes"""
_LOCK = "train.lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
"""of a file system without locks"""
_NAME_AT = 1  # where the lock file names its holder: on Windows nobody can read the locked byte, the first one


def has_state(run_dir: Path) -> bool:
    """Whether the folder holds a run that can be resumed."""
    return (run_dir / LAST).exists() or (run_dir / PREVIOUS).exists()


def require_state(run_dir: Path, resume: bool) -> None:
    """Raises UserError where there is no run to resume, or where a new run would overwrite one."""
    if resume and not has_state(run_dir):
        raise UserError(
            f"checkpoint {run_dir / LAST} does not exist: nothing was saved there yet, start it without --resume"
        )
    if not resume and has_state(run_dir):
        raise UserError(
            f"{run_dir} already holds a run: give --resume to go on with it, or another --run-dir, or remove it"
        )


def go_on_command(run_dir: Path) -> str:
    """The command that resumes the run. The folder's config.yaml includes every override."""
    run = shlex.quote(str(run_dir))
    return f"nanogfl train {shlex.quote(str(run_dir / CONFIG))} --run-dir {run} --resume"


@contextmanager
def going_on_after_errors(run_dir: Path) -> Iterator[None]:
    """Wraps code that writes to the folder: its UserErrors (a full disk) also say how to go on."""
    try:
        yield
    except UserError as error:
        how = (
            f"then go on from what was saved last with: {go_on_command(run_dir)}"
            if has_state(run_dir)
            else "then start again, for nothing was saved yet"
        )
        raise UserError(f"{error}; mend that (free some space on a full disk), {how}") from error


@contextmanager
def own_run_dir(run_dir: Path) -> Iterator[None]:
    """Makes the folder, locks it, and removes what a killed process left half-written.

    Raises UserError where another process trains into the folder, and where it cannot be made.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"run folder {run_dir} cannot be made ({error.strerror}): choose another --run-dir") from None
    sync_folder(run_dir.parent)
    with locked(run_dir):
        for name in (LAST, BEST, CONFIG, LOG, CURVES, PICTURE, GAMMA):
            remove_unfinished(run_dir / name)
        shutil.rmtree(run_dir / MEASURING, ignore_errors=True)
        yield


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Holds the lock file run_dir/train.lock, which names its holder. The system releases it with the process.

    Raises UserError where another process holds it. On a file system without locks nobody is kept out.
    """
    path = run_dir / _LOCK
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
        with path.open("r+b", buffering=0) as file:
            file.truncate(_NAME_AT)
            file.seek(_NAME_AT)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
    except Timeout:
        raise UserError(
            f"{_holder(path)} trains into {run_dir} at this moment: wait for it, end it, or choose another --run-dir"
        ) from None
    except OSError as error:
        lock.release()
        if error.errno not in NO_LOCKS:
            raise UserError(f"{path} cannot be written ({error.strerror}): choose another --run-dir") from None
    try:
        yield
    finally:
        if sys.platform != "win32":  # which keeps the name of an open file
            path.unlink(missing_ok=True)  # while it is still ours
        lock.release()
        if sys.platform == "win32":
            with suppress(OSError):  # another process has opened it
                path.unlink(missing_ok=True)


def _holder(path: Path) -> str:
    with suppress(OSError), path.open("rb", buffering=0) as file:
        file.seek(_NAME_AT)
        return file.read().decode(errors="replace") or "another process"
    return "another process"


def write_config(run_dir: Path, config: Config) -> None:
    with atomic_path(run_dir / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")
