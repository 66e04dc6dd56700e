"""Decoded images in a file that runs and concurrent processes share: each content is decoded once.

The cache's folder has one store for each kind of slot: a file of raw pixels and an index (index.py), which finds the
slot of a content by the hash of the file's bytes, and the content of a path as long as the file's size and time of
change stay the same. Pixels are on the disk before the row that names them, and nobody writes a slot that has a row:
a build that is killed leaves nothing wrong behind, and what a process has mapped stays right while others build. A
slot that is used again is first compared with its checksum: what a disk, a copy or another program has changed is
decoded again, into another slot. Before images are added, limit.py makes room for them.
"""

import mmap
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.cache.ahead import Track, available_threads, map_ahead
from nanogfl.data.cache.index import StoreFiles, open_files, replace_files, transaction, write_slot
from nanogfl.data.cache.limit import LIMIT_VARIABLE, Evicted, make_room, read_limit, size_text
from nanogfl.data.cache.slot import Slot, Stored, checksum
from nanogfl.errors import UserError
from nanogfl.io.images import decode_picture, read_content
from nanogfl.io.printable import printable

COMMIT_BYTES = 64_000_000
"""pixels that are written at a time: the most that a killed build loses, and that wait in memory"""
_DAMAGED = "damaged frame in the cache: its pixels had changed since they were written; decoded anew"


class _Content(NamedTuple):
    """A row of the index, without its hash and time of use."""

    slot: int | None
    height: int
    width: int
    checksum: int | None
    remark: str | None
    """without a slot: what is wrong, a sentence without its subject; with one: notes for the user, one per line"""


class _Read(NamedTuple):
    """A file that was read because the index does not know it as it is now."""

    position: int
    stat: tuple[int | None, int | None]
    digest: bytes
    content: _Content | None = None
    """still without its slot; None: the index knows the content"""
    pixels: NDArray[np.uint8] | None = None


def store_frames(root: Path, paths: Sequence[Path], slot: Slot, track: Track) -> Stored:
    """The images' slots in the store under `root`; what it lacks is decoded.

    The store stays in use, and its images in their slots, as long as the returned array or a view of it lives. A
    damaged index, or one of something else, is replaced; what a shortened file has lost is decoded again. Raises
    UserError for a folder that cannot be used and for a disk without the space.
    """
    folder, limit = root / slot.key, read_limit()
    try:
        files = open_files(folder, slot.nbytes)
        try:
            with closing(files):
                return _Build(folder, files, paths, slot, limit).run(track)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # damaged where opening it did not look
            replace_files(folder, files.number, slot.nbytes)
        with closing(open_files(folder, slot.nbytes)) as files:
            return _Build(folder, files, paths, slot, limit).run(track)
    except (OSError, sqlite3.Error, NotImplementedError) as error:  # the last one: a file system without locks
        reason = error.strerror if isinstance(error, OSError) else None
        raise UserError(
            f"the frame cache {folder} cannot be used ({reason or error}): make it a folder that can be written to,"
            " free space on its disk or delete it, or set data.cache_dir to another folder or data.cache to memory"
        ) from error


class _Build:
    """Finds and fills the slots of `paths`."""

    def __init__(self, folder: Path, files: StoreFiles, paths: Sequence[Path], slot: Slot, limit: float) -> None:
        self.folder, self.files, self.paths, self.slot, self.limit = folder, files, paths, slot, limit
        self.index = files.index
        self.started = int(time.time())
        self.found: dict[int, _Content] = {}
        self.complaints: list[str | None] = [None] * len(paths)
        self.decoded = 0
        self.damaged: set[int] = set()
        """positions whose slots were no longer as they had been written"""
        self.right: set[int] = set()
        """slots that were written or compared by this call"""

    def run(self, track: Track) -> Stored:
        self._list_wanted()
        self._find_unchanged()
        self._add_missing(track)
        while self._forget_damaged(track):
            self._add_missing(track)
        count = len(self.paths)
        slot_of = np.full(count, -1, dtype=np.int64)
        source_hw = np.zeros((count, 2), dtype=np.int64)
        checksums = np.zeros(count, dtype=np.uint32)
        notes: list[tuple[str, ...]] = [()] * count
        for position, content in self.found.items():
            if content.slot is None:
                self.complaints[position] = f"{self.paths[position]} {content.remark}"
            else:
                slot_of[position] = content.slot
                source_hw[position] = content.height, content.width
                checksums[position] = content.checksum or 0
                notes[position] = (*(content.remark or "").splitlines(), *[_DAMAGED] * (position in self.damaged))
        pixels = self._map(int(slot_of.max(initial=-1)) + 1, hold=True)
        return Stored(pixels, slot_of, source_hw, checksums, self.complaints, notes, self.decoded, str(self.folder))

    def _add_missing(self, track: Track) -> None:
        if len(self.found) < len(self.paths):
            self._make_room()
            rest = [i for i in range(len(self.paths)) if i not in self.found]
            with closing(self._add(rest)) as results:
                for _ in track(results, len(rest)):
                    pass

    def _forget_damaged(self, track: Track) -> bool:
        """Compares the slots that this call did not write with their checksums. A damaged row loses its hash, so that
        nobody finds it, and keeps its slot, which others may have mapped. Returns whether there was any."""
        expected = {content.slot: content.checksum for content in self.found.values() if content.slot is not None}
        reused = sorted(expected.keys() - self.right)
        if not reused:
            return False
        pixels = self._map(reused[-1] + 1)

        def compare(slot: int) -> str | None:
            return None if checksum(pixels[slot]) == expected[slot] else _DAMAGED

        results = list(track(map_ahead(compare, reused, available_threads()), len(reused)))
        wrong = {slot for slot, complaint in zip(reused, results, strict=True) if complaint}
        self.right.update(reused)
        if not wrong:
            return False
        with transaction(self.index):
            forgotten = "UPDATE contents SET digest = randomblob(16) WHERE slot = ?"
            self.index.executemany(forgotten, [(slot,) for slot in wrong])
        self.damaged |= {position for position, content in self.found.items() if content.slot in wrong}
        self.found = {position: content for position, content in self.found.items() if content.slot not in wrong}
        return True

    def _list_wanted(self) -> None:
        """One stat per file."""
        wanted = ((i, _key(path), *_size_and_time(path)) for i, path in enumerate(self.paths))
        self.index.execute("CREATE TEMP TABLE wanted (position INTEGER, path BLOB, size INTEGER, mtime_ns INTEGER)")
        self.index.execute("BEGIN")
        self.index.executemany("INSERT INTO wanted VALUES (?, ?, ?, ?)", wanted)
        self.index.commit()

    def _find_unchanged(self) -> None:
        """One query for all files; those that are found are used from now on."""
        rows = self.index.execute(
            "SELECT position, slot, height, width, checksum, remark"
            " FROM wanted JOIN files USING (path, size, mtime_ns) JOIN contents USING (digest)"
        )
        self.found = {position: _Content(*content) for position, *content in rows}
        with suppress(sqlite3.OperationalError), transaction(self.index):  # while another process writes
            self.index.execute(
                "UPDATE contents SET used = ? WHERE digest IN"
                " (SELECT digest FROM wanted JOIN files USING (path, size, mtime_ns))",
                (self.started,),
            )

    def _make_room(self) -> None:
        """Keeps the cache under its limit, as far as that goes. Raises UserError for a disk without the space."""
        # A file whose size the index has never seen has a new content; another may be a copy of a known one.
        (new,) = self.index.execute("SELECT count(*) FROM wanted WHERE size NOT IN (SELECT size FROM files)").fetchone()
        needed = new * self.slot.nbytes
        if not self.right:  # only before this call has slots of its own: images may move
            evicted = make_room(self.folder.parent, needed, self.limit, self.files, self.folder, self.started)
            if evicted is not None:
                self._find_unchanged()
                _say(self.folder.parent, evicted, needed, self.limit)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise UserError(
                f"the frame cache {self.folder} needs {needed:,} bytes for {new} images, but its disk has {free:,}"
                " free: free some, set data.cache_dir to a folder on a larger disk, lower data.cache_zoom, or set"
                " data.cache to off"
            )

    def _add(self, positions: Sequence[int]) -> Generator[str | None]:
        """Reads these files; yields what is wrong with each, as far as it is known by then."""
        known = {digest for (digest,) in self.index.execute("SELECT digest FROM contents")}
        pending: list[_Read] = []
        waiting = 0

        def read(position: int) -> _Read | str:
            try:
                return self._read(position, known)
            except UserError as error:  # no bytes to remember it by
                self.complaints[position] = str(error)
                return str(error)

        with closing(map_ahead(read, positions, available_threads())) as results:
            for result in results:
                if isinstance(result, str):
                    yield result
                    continue
                pending.append(result)
                waiting += 0 if result.pixels is None else self.slot.nbytes
                if waiting >= COMMIT_BYTES:
                    self._commit(pending)
                    pending, waiting = [], 0
                yield result.content.remark if result.content and result.pixels is None else None
        self._commit(pending)

    def _read(self, position: int, known: set[bytes]) -> _Read:
        path = self.paths[position]
        stat = _size_and_time(path)  # before reading: a change in between shows the next time
        content = read_content(path)
        digest = blake2b(content, digest_size=16).digest()
        if digest in known:
            return _Read(position, stat, digest)
        try:
            frame, notes = decode_picture(content)
        except UserError as error:
            return _Read(position, stat, digest, _Content(None, 0, 0, None, str(error)))
        pixels = np.empty(self.slot.shape, dtype=np.uint8)
        self.slot.fill(frame, pixels)
        row = _Content(None, frame.shape[0], frame.shape[1], checksum(pixels), "\n".join(notes) or None)
        return _Read(position, stat, digest, row, pixels)

    def _commit(self, pending: Sequence[_Read]) -> None:
        """Writes the pixels, then the rows, in one transaction, so that no other process takes the same slots."""
        with transaction(self.index):
            (free,) = self.index.execute("SELECT coalesce(max(slot) + 1, 0) FROM contents").fetchone()
            for entry in pending:
                row = self.index.execute(
                    "SELECT slot, height, width, checksum, remark FROM contents WHERE digest = ?", (entry.digest,)
                ).fetchone()
                content = _Content(*row) if row else entry.content
                if content is None:
                    raise UserError(f"the frame cache {self.folder} was changed while it was read: run this again")
                if row is None:
                    if entry.pixels is not None:
                        content = content._replace(slot=free)
                        self._write(free, entry.pixels)
                        self.right.add(free)
                        free += 1
                        self.decoded += 1
                    values = (entry.digest, *content, self.started)
                    self.index.execute("INSERT INTO contents VALUES (?, ?, ?, ?, ?, ?, ?)", values)
                else:
                    used = "UPDATE contents SET used = ? WHERE digest = ?"
                    self.index.execute(used, (self.started, entry.digest))
                self.found[entry.position] = content
                if entry.stat[0] is not None:
                    file = (_key(self.paths[entry.position]), *entry.stat, entry.digest)
                    self.index.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", file)
            os.fsync(self.files.slots.fileno())

    def _write(self, slot: int, pixels: NDArray[np.uint8]) -> None:
        write_slot(self.files.slots, slot, pixels.data.cast("B"))

    def _map(self, count: int, *, hold: bool = False) -> NDArray[np.uint8]:
        """The first slots, read-only, whatever others append. `hold`: the store is in use as long as they live."""
        if not count:
            return np.zeros((0, *self.slot.shape), dtype=np.uint8)
        mapped = mmap.mmap(self.files.slots.fileno(), count * self.slot.nbytes, access=mmap.ACCESS_READ)
        if hold:
            self.files.hold_for(mapped)
        return np.frombuffer(mapped, dtype=np.uint8).reshape(count, *self.slot.shape)


def _say(root: Path, evicted: Evicted, needed: int, limit: float) -> None:
    lines = []
    if evicted.nbytes > 0:
        day = time.strftime("%Y-%m-%d", time.localtime(evicted.used))
        lines.append(
            f"frame cache: evicted {size_text(evicted.nbytes)} of images that were last used on {day} or before, to"
            f" stay under {size_text(limit)} ({LIMIT_VARIABLE})"
        )
    if evicted.total + needed > limit:
        lines.append(
            f"frame cache: {root} grows to {size_text(evicted.total + needed)}, more than its limit of"
            f" {size_text(limit)} ({LIMIT_VARIABLE}): what this run and others use is never evicted"
        )
    for line in lines:
        print(printable(line), file=sys.stderr)


def _key(path: Path) -> bytes:
    return os.fsencode(os.path.abspath(path))


def _size_and_time(path: Path) -> tuple[int | None, int | None]:
    """None and None, which in SQL equal nothing, for a file that is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None, None
    return found.st_size, found.st_mtime_ns
