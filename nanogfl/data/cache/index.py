"""The files of a store of decoded images, and the locks that keep processes apart.

A store is a folder with an index, `index-N.sqlite`, and the pixels that belong to it, `slots-N.u8`. A damaged pair is
replaced by one with the next number, never under the same names: another process may still map the old pixels.

The operating system releases both kinds of lock when their holder ends, however it ends:
`lock`, beside the stores: held while a store is opened, replaced, shortened or removed;
`in-use-*.lock`, in a store: one for each process and data set, held as long as the pixels are mapped.
"""

import re
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from filelock import BaseFileLock

WAIT_S = 300.0
"""seconds to wait for another process: one that writes takes a second, one that evicts images a minute or two"""
_OURS = 0x6E67666C
"""'ngfl', in the index's header"""

_TABLES = (
    "CREATE TABLE contents (digest BLOB PRIMARY KEY, slot INTEGER UNIQUE, height INTEGER, width INTEGER,"
    " checksum INTEGER, remark TEXT, used INTEGER) WITHOUT ROWID",
    "CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, digest BLOB) WITHOUT ROWID",
    f"PRAGMA application_id = {_OURS}",
)
"""contents: for each content (by its hash) either its slot, the slot's checksum, the height and width of the file and
notes for the user, or what is wrong with it; and when it was last used, in seconds since 1970. files: which content a
path had when it had this size and time of change"""


class StoreFiles:
    """An open store, in use until it is closed or until what `hold_for` names is gone."""

    def __init__(self, number: int, index: sqlite3.Connection, slots: FileIO, lock: "BaseFileLock") -> None:
        self.number, self.index, self.slots = number, index, slots
        self.in_use = Path(lock.lock_file)
        self._lock: BaseFileLock | None = lock

    def hold_for(self, pixels: mmap) -> None:
        """Keeps the store in use, also when it is closed, as long as anything refers to its mapped pixels."""
        if self._lock is not None:
            weakref.finalize(pixels, _release, self._lock)
            self._lock = None

    def close(self) -> None:
        self.index.close()
        self.slots.close()
        if self._lock is not None:
            _release(self._lock)
            self._lock = None


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Holds the lock over all stores under `root`. Raises OSError after WAIT_S seconds (filelock.Timeout is one)."""
    from filelock import FileLock  # 50 ms, which commands without a cache need not wait for

    with FileLock(root / "lock", timeout=WAIT_S, thread_local=False):
        yield


def open_files(folder: Path, slot_bytes: int) -> StoreFiles:
    """Opens or creates a store and marks it as in use.

    A damaged or foreign index is replaced. Raises OSError and sqlite3.Error where the folder cannot be used.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.parent):
        folder.mkdir(exist_ok=True)
        number = newest(folder)
        try:
            return _open(folder, number, slot_bytes)
        except sqlite3.OperationalError:  # locked, full, not writable
            raise
        except sqlite3.DatabaseError:
            return _replace(folder, number, slot_bytes)


def replace_files(folder: Path, damaged: int, slot_bytes: int) -> None:
    """Replaces a pair whose damage showed only on use, unless another process has done so already."""
    with alone(folder.parent):
        if newest(folder) == damaged:
            _replace(folder, damaged, slot_bytes).close()


def is_used(folder: Path, but: Path | None = None, *, tidy: bool = False) -> bool:
    """Whether anybody but the holder of the lock `but` uses the store.

    `tidy`: removes the lock files of dead processes. Only within `alone`: one that is being made looks the same.
    """
    from filelock import FileLock

    for path in folder.glob("in-use-*.lock"):
        if path == but:
            continue
        try:
            with FileLock(path, timeout=0, thread_local=False):
                pass
        except OSError:  # held, or not ours to open
            return True
        if tidy:
            with suppress(OSError):
                path.unlink()
    return False


@contextmanager
def transaction(index: sqlite3.Connection) -> Iterator[None]:
    """Locks the index for writing from its first line on; keeps nothing on an error."""
    index.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        index.rollback()
        raise
    index.commit()


def newest(folder: Path) -> int:
    """The number of the store's pair of files; 1 where there is none yet."""
    names = [re.fullmatch(r"(?:index|slots)-(\d+)\.(?:sqlite|u8)", path.name) for path in folder.iterdir()]
    return max((int(name[1]) for name in names if name), default=1)


def write_slot(slots: FileIO, slot: int, pixels: bytes | memoryview) -> None:
    """Writes a slot's bytes in their place."""
    slots.seek(slot * len(pixels))
    rest = memoryview(pixels)
    while rest:
        rest = rest[slots.write(rest) :]


def _replace(folder: Path, damaged: int, slot_bytes: int) -> StoreFiles:
    files = _open(folder, damaged + 1, slot_bytes)
    for name in (f"index-{damaged}.sqlite", f"index-{damaged}.sqlite-journal", f"slots-{damaged}.u8"):
        with suppress(OSError):  # Windows keeps what is mapped; it only takes space
            (folder / name).unlink(missing_ok=True)
    return files


def _open(folder: Path, number: int, slot_bytes: int) -> StoreFiles:
    slots_path = folder / f"slots-{number}.u8"
    index = sqlite3.connect(folder / f"index-{number}.sqlite", timeout=WAIT_S, isolation_level=None)
    try:
        (tables,) = index.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            slots_path.unlink(missing_ok=True)  # of an index that was deleted: it may still be mapped
            with transaction(index):
                for statement in _TABLES:
                    index.execute(statement)
        if index.execute("PRAGMA application_id").fetchone() != (_OURS,):
            raise sqlite3.DatabaseError("a database of something else")
        slots_path.touch()
        slots = slots_path.open("r+b", buffering=0)
    except BaseException:
        index.close()
        raise
    try:
        _forget_lost(index, slots_path, slot_bytes)
        lock = _mark_used(folder)
    except BaseException:
        index.close()
        slots.close()
        raise
    return StoreFiles(number, index, slots, lock)


def _mark_used(folder: Path) -> "BaseFileLock":
    from filelock import FileLock

    lock = FileLock(folder / f"in-use-{uuid4().hex}.lock", timeout=10, thread_local=False)
    lock.acquire()
    return lock


def _release(lock: "BaseFileLock") -> None:
    lock.release()
    with suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)


def _forget_lost(index: sqlite3.Connection, slots_path: Path, slot_bytes: int) -> None:
    """Removes rows whose pixels are gone because the file was shortened: they are decoded again."""
    (last,) = index.execute("SELECT max(slot) FROM contents").fetchone()
    if last is not None and slots_path.stat().st_size < (last + 1) * slot_bytes:
        with transaction(index):  # measured again: nobody else writes now
            whole = slots_path.stat().st_size // slot_bytes
            index.execute("DELETE FROM contents WHERE slot >= ?", (whole,))
