"""Finds the images of a data set in their folder by the names in its annotations, exactly or nearly."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from pathlib import Path, PurePath
from typing import NamedTuple
from urllib.parse import unquote

from nanogfl.data.dataset import Problem
from nanogfl.data.readers.files_below import files_below
from nanogfl.errors import UserError
from nanogfl.io.images import IMAGE_SUFFIXES
from nanogfl.io.printable import printable
from nanogfl.io.read_file import is_file, is_folder

UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
"""Label Studio's prefix of uploaded images"""


class _File(NamedTuple):
    path: Path
    parts: tuple[str, ...]
    """of its path relative to the folder, normalised by `plain_parts`"""


class _Index(NamedTuple):
    by_name: dict[str, list[_File]]
    """by the last part"""
    by_stem: dict[str, list[_File]]
    """images only, by the last part without its suffix"""


class ImageFolder:
    """The images of a data set, with names relative to `folder`. `file` holds the names, and is named in errors.

    Names must not lead out of the folder; links in the folder are the user's own and are followed. Raises UserError if
    the folder cannot be read.
    """

    def __init__(self, folder: Path, file: Path) -> None:
        require_folder(folder)
        self.folder, self.file = folder, file
        try:
            with os.scandir(folder) as entries:
                self._listing = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
        except OSError as error:
            raise UserError(f"image folder {folder} cannot be read ({error.strerror}): check permissions") from None

    def there(self, name: str) -> Path | None:
        """The file of exactly this name; None if it is not in the folder. Raises UserError for impossible names."""
        require_name(name, self.file, "image")
        if name in self._listing:
            return self.folder / name
        path = inside(self.folder, name)
        return path if path is not None and is_file(path) else None

    def find(self, names: Sequence[str], problems: list[Problem]) -> list[Path | None]:
        """The file of each name; None for an image that is missing, which is listed in `problems`.

        If the files of some names are missing, but each is found under a similar name (another parent folder, case,
        `\\` for `/`, `%20`, composed characters), these are taken, and listed. Raises UserError for names that lead out
        of the folder, for one file under two names, and if only some of the missing are found, or several for one.
        """
        paths = [self.there(name) for name in names]
        missing = [number for number, path in enumerate(paths) if path is None]
        if missing:
            taken = {path for path in paths if path is not None}
            candidates = {number: self.like(names[number], taken) for number in missing}
            if any(candidates.values()):
                self._require_one_for_each(names, candidates)
            for number, found in candidates.items():
                paths[number] = path = found[0] if found else None
                reason = self.mended(path) if path else self.why_missing(names[number], taken)
                problems.append(Problem(names[number], reason))
        self._require_different(names, paths)
        return paths

    def like(self, name: str, taken: AbstractSet[Path] = frozenset()) -> list[Path]:
        """The files that the name may mean, without those in `taken`: the same last part, and no contradiction in the
        folders around both. Only the best: those that share most folders, then those in the same case."""
        wanted = plain_parts(name)
        if not wanted:
            return []
        named = self._index.by_name.get(wanted[-1]) or self._index.by_name.get(UPLOAD_PREFIX.sub("", wanted[-1]), [])
        if not named and PurePath(wanted[-1]).suffix not in IMAGE_SUFFIXES:
            named = self._index.by_stem.get(wanted[-1], [])
        fitting: dict[tuple[int, bool], list[Path]] = defaultdict(list)
        for path, parts in named:
            shared = min(len(parts), len(wanted)) - 1
            if path not in taken and parts[-1 - shared : -1] == wanted[-1 - shared : -1]:
                fitting[shared, name.endswith(path.name)].append(path)
        return fitting[max(fitting)] if fitting else []

    def of_stem(self, stem: str) -> list[Path]:
        """The images of this name without suffix in any folder below; those in the same case, if there are any."""
        found = [file.path for file in self._index.by_stem.get(last_part(stem), [])]
        return [path for path in found if path.stem == stem] or found

    def mended(self, path: Path) -> str:
        return f"image found under another name: {path.relative_to(self.folder).as_posix()}"

    def why_missing(self, name: str, taken: AbstractSet[Path] = frozenset()) -> str:
        """The reason for `problems`. Raises UserError for a name that leads out of the folder."""
        path = require_inside(self.folder, name, self.file, "image")
        if os.path.islink(path):  # False for names that no file can have
            return f"image is missing: a link to {os.readlink(path)}, which is not there"
        elsewhere = next((path for path, _ in self._index.by_name.get(last_part(name), []) if path not in taken), None)
        hint = f"; is it {elsewhere.relative_to(self.folder).as_posix()}?" if elsewhere else ""
        return f"image is missing: no such file in the folder{hint}"

    @cached_property
    def _index(self) -> _Index:
        by_name, by_stem = defaultdict(list), defaultdict(list)
        for path in files_below(self.folder, []):
            file = _File(path, plain_parts(path.relative_to(self.folder).as_posix()))
            by_name[last_part(path.name)].append(file)
            if path.suffix.lower() in IMAGE_SUFFIXES:
                by_stem[last_part(path.stem)].append(file)
        return _Index(dict(by_name), dict(by_stem))

    def _require_one_for_each(self, names: Sequence[str], candidates: dict[int, list[Path]]) -> None:
        owners = Counter(found[0] for found in candidates.values() if len(found) == 1)
        unclear = [n for n, found in candidates.items() if len(found) > 1 or (found and owners[found[0]] > 1)]
        nowhere = [n for n, found in candidates.items() if not found]
        if not unclear and not nowhere:
            return
        clear = [n for n in candidates if n not in {*unclear, *nowhere}]
        parts = [f"{len(candidates)} of {len(names)} images are not in {self.folder} under their names"]
        if clear:
            shown = candidates[clear[0]][0].relative_to(self.folder).as_posix()
            parts.append(f"{len(clear)} are there under another ({names[clear[0]]} as {shown})")
        if unclear:
            shown = " or ".join(path.relative_to(self.folder).as_posix() for path in candidates[unclear[0]][:2])
            parts.append(f"of {len(unclear)} it is not clear which file is meant ({names[unclear[0]]}: {shown})")
        if nowhere:
            parts.append(f"{len(nowhere)} are nowhere ({names[nowhere[0]]})")
        raise UserError(
            f"{self.file}: {', '.join(parts)}: give the folder of this split's images, correct the names, or remove"
            " the entries of images that are not there"
        )

    def _require_different(self, names: Sequence[str], paths: Sequence[Path | None]) -> None:
        first: dict[Path, int] = {}
        for number, path in enumerate(paths):
            if path is not None and first.setdefault(path, number) != number:
                one, name = names[first[path]], names[number]
                other = f", as {one} and {name}" if one != name else ""
                raise UserError(
                    f"{self.file} lists the image {path.name} twice{other}: put the annotations of both under one id,"
                    " and remove the other"
                )


def require_folder(folder: Path, hint: str = "") -> None:
    """Raises UserError, with the hint, if there is no such folder."""
    if not is_folder(folder):
        raise UserError(f"image folder {folder} does not exist: check data.root and the split's images{hint}")


def require_name(name: str, file: Path, what: str) -> None:
    """Raises UserError for a name with control characters, surrogates and the like."""
    if printable(name) != name:
        raise UserError(f"{file}: {what} {name[:200]!r} is not a name that a file can have: correct it")


def inside(folder: Path, name: str) -> Path | None:
    """folder / name; None if the name leads out of the folder. Links are not resolved."""
    pure = PurePath(name)
    if pure.is_absolute() or ".." in pure.parts:
        name = os.path.relpath(os.path.abspath(folder / name), os.path.abspath(folder))  # also free of link/..
        if PurePath(name).parts[:1] == ("..",):
            return None
    return folder / name


def require_inside(folder: Path, name: str, file: Path, what: str) -> Path:
    """folder / name. Raises UserError if the name leads out of the folder, or if no file can have it."""
    require_name(name, file, what)
    path = inside(folder, name)
    if path is None:
        raise UserError(f"{file}: {what} {name} lies outside of {folder}: use names relative to it")
    return path


def plain_parts(name: str) -> tuple[str, ...]:
    """The parts of a path or URL, without the differences between tools."""
    if "://" in name:
        name = re.sub(r"\?(?!d=).*", "", name)  # a query; but ?d= begins Label Studio's local path
    name = unicodedata.normalize("NFC", unquote(name.replace("?d=", "/"))).casefold()
    parts = (part.strip() for part in re.split(r"[\\/]", name))
    return tuple(part for part in parts if part not in ("", ".", ".."))


def last_part(name: str) -> str:
    return plain_parts(name)[-1] if plain_parts(name) else ""
