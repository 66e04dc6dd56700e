"""The size limit of a frame cache: what it holds, and eviction of the images that were not used longest.

Images are evicted in groups: those of one store that were last used by the same run. A store that is in use is left
alone. Each step leaves the store right for whoever opens it next, so that a kill at any moment loses nothing else.
"""

import math
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from nanogfl.data.cache.index import StoreFiles, alone, is_used, newest, transaction, write_slot
from nanogfl.data.cache.slot import FORMAT
from nanogfl.errors import UserError

LIMIT_VARIABLE = "NANOGFL_CACHE_LIMIT_GB"
DEFAULT_LIMIT_GB = 20.0
_STORE = re.compile(r"(\d+)x(\d+)-(stretch|letterbox)(-\d+-\d+-\d+)?-opencv([\d.]+)-v(\d+)")
"""a store's folder, as `Slot.key` names it; nothing else is ever removed"""
_FILES = re.compile(r"index-\d+\.sqlite(-journal)?|slots-\d+\.u8|lock\.sqlite|in-use-[0-9a-f]+\.lock")


class Group(NamedTuple):
    """Images that were last used together."""

    used: int
    """seconds since 1970"""
    images: int
    nbytes: int


@dataclass(frozen=True)
class Store:
    """What a store holds."""

    folder: Path
    nbytes: int
    """of all its files"""
    groups: tuple[Group, ...]
    """a single one where the images cannot be told apart: an older format, or a damaged index"""
    readable: bool

    @property
    def images(self) -> int:
        return sum(group.images for group in self.groups)

    @property
    def used(self) -> int:
        """When it was last used, in seconds since 1970."""
        return max(group.used for group in self.groups)

    @property
    def title(self) -> str:
        """Input size and resize, for people."""
        match = _STORE.fullmatch(self.folder.name)
        assert match
        width, height, resize, _, opencv, version = match.groups()
        other = "" if int(version) == FORMAT else f", format {version}"
        return f"{width} x {height} {resize}, OpenCV {opencv}{other}"


class Evicted(NamedTuple):
    """What `make_room` did."""

    nbytes: int
    """that are free now"""
    used: int
    """when the most recent of the evicted images were last used"""
    total: int
    """bytes that the cache still holds"""


def read_limit() -> float:
    """Bytes that a frame cache may take: $NANOGFL_CACHE_LIMIT_GB, else 20 GB; inf: no limit.

    Raises UserError for what is no number of gigabytes.
    """
    written = os.environ.get(LIMIT_VARIABLE, "").strip()
    try:
        limit = float(written) if written else DEFAULT_LIMIT_GB
    except ValueError:
        limit = math.nan
    if not limit >= 0:
        raise UserError(
            f"{LIMIT_VARIABLE} must be a number of gigabytes from 0, or inf for no limit, got {written[:40]!r}"
        )
    return limit * 1e9


def list_stores(root: Path) -> list[Store]:
    """The stores under `root`, the most recently used first. Raises OSError where it cannot be read."""
    folders = (
        [path for path in root.iterdir() if _STORE.fullmatch(path.name) and path.is_dir()] if root.is_dir() else []
    )
    stores = [store for folder in folders if (store := _read(folder)) is not None]
    return sorted(stores, key=lambda store: (-store.used, store.folder.name))


def make_room(root: Path, needed: int, limit: float, own: StoreFiles, own_folder: Path, started: int) -> Evicted | None:
    """Evicts images until the cache and `needed` more bytes stay under the limit; None where they do already.

    `own`: the store that needs the room, open but not mapped yet; its images that were used since `started` stay.
    Afterwards its images may lie in other slots.
    """
    if sum(store.nbytes for store in list_stores(root)) + needed <= limit:
        return None
    with alone(root):
        stores = list_stores(root)
        before = sum(store.nbytes for store in stores)
        excess = before + needed - limit
        candidates = [
            (group, store)
            for store in stores
            if not is_used(store.folder, own.in_use, tidy=True)
            for group in store.groups
            if store.folder != own_folder or group.used < started
        ]
        chosen: dict[Path, list[Group]] = {}
        latest = 0
        for group, store in sorted(candidates, key=lambda pair: pair[0].used):
            if excess <= 0:
                break
            chosen.setdefault(store.folder, []).append(group)
            excess -= group.nbytes
            latest = group.used
        for store in stores:
            if groups := chosen.get(store.folder):
                with suppress(OSError, sqlite3.Error):  # what cannot be removed stays, and is counted
                    _evict(store, groups, own if store.folder == own_folder else None)
        total = sum(store.nbytes for store in list_stores(root))
    return Evicted(before - total, latest, total)


def clear_stores(root: Path) -> Iterator[tuple[Store, bool]]:
    """Removes every store that is not in use; yields each and whether it is gone. Raises OSError."""
    if not root.is_dir():
        return
    with alone(root):
        for store in list_stores(root):
            used = is_used(store.folder, tidy=True)
            if not used:
                _remove(store.folder)
            yield store, not used and not store.folder.exists()


def _read(folder: Path) -> Store | None:
    """None where another process has just removed it."""
    try:
        files = [path.stat() for path in folder.iterdir() if _FILES.fullmatch(path.name)]
        nbytes = sum(stat.st_size for stat in files)
        changed = int(max((stat.st_mtime for stat in files), default=folder.stat().st_mtime))
        index = folder / f"index-{newest(folder)}.sqlite"
    except FileNotFoundError:
        return None
    groups: tuple[Group, ...] = ()
    readable = True
    try:
        with closing(sqlite3.connect(f"{index.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
            rows = connection.execute("SELECT used, count(slot) FROM contents GROUP BY used").fetchall()
        groups = tuple(Group(used, images, images * _slot_bytes(folder)) for used, images in rows)
    except sqlite3.Error:
        readable = False
    return Store(folder, nbytes, groups or (Group(changed, 0, nbytes),), readable)


def _slot_bytes(folder: Path) -> int:
    match = _STORE.fullmatch(folder.name)
    assert match
    return int(match[1]) * int(match[2]) * 3


def _evict(store: Store, groups: Sequence[Group], own: StoreFiles | None) -> None:
    folder, slot_bytes = store.folder, _slot_bytes(store.folder)
    if own is not None:
        _drop(own.index, own.slots, [group.used for group in groups], slot_bytes)
    elif len(groups) == len(store.groups):
        _remove(folder)
    else:
        number = newest(folder)
        with (
            closing(sqlite3.connect(folder / f"index-{number}.sqlite", isolation_level=None)) as index,
            (folder / f"slots-{number}.u8").open("r+b", buffering=0) as slots,
        ):
            _drop(index, slots, [group.used for group in groups], slot_bytes)


def _drop(index: sqlite3.Connection, slots: FileIO, used: Sequence[int], slot_bytes: int) -> None:
    """Forgets the images that were last used then, moves the last ones into the gaps and shortens the file.

    Nobody may map the pixels. A moved picture is on the disk before its row names the new slot, and the file is
    shortened only behind the last row.
    """
    with transaction(index):
        index.executemany("DELETE FROM contents WHERE used = ?", [(second,) for second in used])
        index.execute("DELETE FROM files WHERE digest NOT IN (SELECT digest FROM contents)")
    taken = [slot for (slot,) in index.execute("SELECT slot FROM contents WHERE slot IS NOT NULL ORDER BY slot")]
    gaps = sorted(set(range(len(taken))).difference(taken))
    moves = list(zip(gaps, taken[len(taken) - len(gaps) :], strict=True))
    for gap, slot in moves:
        slots.seek(slot * slot_bytes)
        write_slot(slots, gap, slots.read(slot_bytes))
    os.fsync(slots.fileno())
    with transaction(index):
        index.executemany("UPDATE contents SET slot = ? WHERE slot = ?", moves)
    slots.truncate(len(taken) * slot_bytes)


def _remove(folder: Path) -> None:
    """Removes a store's files, and its folder where nothing else lies in it. Raises OSError.

    The pixels go first: an index without pixels is in order, its rows are forgotten when it is opened. An index that
    outlives its journal may not be.
    """
    files = [path for path in folder.iterdir() if _FILES.fullmatch(path.name)]
    for path in sorted(files, key=lambda path: (path.suffix != ".u8", not path.name.endswith("-journal"))):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # a stranger's file
        folder.rmdir()


def size_text(count: float) -> str:
    """Bytes for people: 90 MB, 36.2 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
