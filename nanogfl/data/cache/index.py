"""The files of a store of decoded images: opened by one process at a time, replaced when they are damaged.

`index-N.sqlite` and `slots-N.u8` belong together. What replaces a damaged pair has the next number, never the same
names: another process may still map the old pixels.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

WAIT_S = 60.0
"""for another process that writes, which takes it a second"""
_OURS = 0x6E67666C
"""'ngfl', in the index's header"""

_TABLES = (
    "CREATE TABLE contents (digest BLOB PRIMARY KEY, slot INTEGER UNIQUE, height INTEGER, width INTEGER,"
    " checksum INTEGER, remark TEXT) WITHOUT ROWID",
    "CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, digest BLOB) WITHOUT ROWID",
    f"PRAGMA application_id = {_OURS}",
)
"""contents: of each content (by its hash) either the slot, its checksum, the height and width of the file and what a
user should know of it, or what is wrong with it; files: which content each path had when it had this size and time of
change"""


@dataclass(frozen=True)
class StoreFiles:
    number: int
    index: sqlite3.Connection
    slots: FileIO

    def close(self) -> None:
        self.index.close()
        self.slots.close()


def open_files(folder: Path, slot_bytes: int) -> StoreFiles:
    """Raises OSError and sqlite3.Error where the folder cannot be used; a damaged or foreign index is replaced."""
    with _alone(folder):
        number = _newest(folder)
        try:
            return _open(folder, number, slot_bytes)
        except sqlite3.OperationalError:  # locked, full, not writable
            raise
        except sqlite3.DatabaseError:
            return _replace(folder, number, slot_bytes)


def replace_files(folder: Path, damaged: int, slot_bytes: int) -> None:
    """Of a pair whose damage showed only on use; nothing where another process has replaced it already."""
    with _alone(folder):
        if _newest(folder) == damaged:
            _replace(folder, damaged, slot_bytes).close()


@contextmanager
def transaction(index: sqlite3.Connection) -> Iterator[None]:
    """Alone in writing from its first line on; nothing of it is kept on an error."""
    index.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        index.rollback()
        raise
    index.commit()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """A lock between processes on every system, which ends with its holder: that of an empty database."""
    with closing(sqlite3.connect(folder / "lock.sqlite", timeout=WAIT_S, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        yield


def _newest(folder: Path) -> int:
    names = [re.fullmatch(r"(?:index|slots)-(\d+)\.(?:sqlite|u8)", path.name) for path in folder.iterdir()]
    return max((int(name[1]) for name in names if name), default=1)


def _replace(folder: Path, damaged: int, slot_bytes: int) -> StoreFiles:
    files = _open(folder, damaged + 1, slot_bytes)
    for name in (f"index-{damaged}.sqlite", f"index-{damaged}.sqlite-journal", f"slots-{damaged}.u8"):
        with suppress(OSError):  # Windows keeps what is mapped: it only takes space
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
    files = StoreFiles(number, index, slots)
    try:
        _forget_lost(files, slots_path, slot_bytes)
    except BaseException:
        files.close()
        raise
    return files


def _forget_lost(files: StoreFiles, slots_path: Path, slot_bytes: int) -> None:
    """Removes rows whose pixels are gone because the file was shortened: they are decoded again."""
    (last,) = files.index.execute("SELECT max(slot) FROM contents").fetchone()
    if last is not None and slots_path.stat().st_size < (last + 1) * slot_bytes:
        with transaction(files.index):  # measured again: nobody else writes now
            whole = slots_path.stat().st_size // slot_bytes
            files.index.execute("DELETE FROM contents WHERE slot >= ?", (whole,))
