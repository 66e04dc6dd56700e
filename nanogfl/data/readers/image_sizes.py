"""Sizes of images whose annotations do not state them, kept in the user's cache folder if it can be written to.

There is one index per image folder, JSON: {name: [bytes, mtime_ns, height, width]}. An entry that contradicts the
file's size or time of change is read again; a damaged index is rebuilt. If two processes write it at once, the later
one wins, and the other's entries are read again the next time.
"""

import json
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path

from nanogfl.data.cache.ahead import available_threads, map_ahead
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.io.cache_folder import cache_folder
from nanogfl.io.image_header import header_hw
from nanogfl.io.images import read_frame
from nanogfl.io.printable import printable

_Entry = tuple[int, int, int, int]


def image_sizes(paths: Sequence[Path], folder: Path) -> list[tuple[int, int] | str]:
    """(height, width) of each image of `folder` as `read_frame` returns it, or the reason why it cannot be read."""
    if not paths:
        return []
    index = _index_of(folder)
    known = _load(index) if index else {}
    names = [os.path.relpath(path, folder) for path in paths]
    stats = [_stat(path) for path in paths]
    sizes: list[tuple[int, int] | str] = []
    unknown = []
    for position, (name, stat) in enumerate(zip(names, stats, strict=True)):
        entry = known.get(name)
        if entry is not None and entry[:2] == stat:
            sizes.append(entry[2:])
        else:
            sizes.append("")
            unknown.append(position)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about large and damaged images
        found = list(map_ahead(_measure, [paths[position] for position in unknown], available_threads()))
    fresh: dict[str, _Entry] = {}
    for position, size in zip(unknown, found, strict=True):
        sizes[position] = size
        stat = stats[position]
        if stat is not None and not isinstance(size, str):
            fresh[names[position]] = (*stat, *size)
    if fresh and index:
        _save(index, known | fresh, folder)
    return sizes


def _measure(path: Path) -> tuple[int, int] | str:
    with suppress(OSError):  # read_frame says why
        if found := header_hw(path):
            return found
    try:
        height, width = read_frame(path).shape[:2]
    except UserError as error:
        return str(error)
    return height, width


def _index_of(folder: Path) -> Path | None:
    """None if the user has no cache folder."""
    key = blake2b(os.fsencode(os.path.abspath(folder)), digest_size=16).hexdigest()
    try:
        return cache_folder("sizes") / f"{key}.json"
    except (RuntimeError, UserError) as error:  # neither HOME nor an entry in passwd
        _say_not_kept(str(error).rstrip("."))
        return None


def _load(index: Path) -> dict[str, _Entry]:
    """Empty if there is no index, or a damaged one."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: tuple(entry) for name, entry in content.items() if _is_entry(entry)}


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 4
        and all(type(number) is int for number in entry)
        and min(entry[2:]) > 0
    )


def _save(index: Path, entries: dict[str, _Entry], folder: Path) -> None:
    """Writes the index, without the entries of files that are gone."""
    there = {name: entry for name, entry in entries.items() if (folder / name).exists()}
    try:
        with atomic_path(index) as temporary:
            temporary.write_text(json.dumps(there), encoding="utf-8")
    except UserError as error:
        _say_not_kept(str(error))


@cache
def _say_not_kept(reason: str) -> None:
    """Once per reason."""
    advice = "set NANOGFL_CACHE to a folder that can be written to"
    print(printable(f"the sizes of images are not kept, and read again next time: {reason}: {advice}"), file=sys.stderr)


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
