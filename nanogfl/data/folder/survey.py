"""What lies in a folder: images, annotation files and the rest, without hidden files and leftovers of tools."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePath
from typing import NamedTuple

from nanogfl.data.dataset import Problem
from nanogfl.data.folder.part_names import part_of_folders
from nanogfl.data.readers.files_below import files_below
from nanogfl.data.readers.image_folder import UPLOAD_PREFIX, last_part, plain_parts
from nanogfl.errors import UserError
from nanogfl.io.images import IMAGE_SUFFIXES
from nanogfl.io.read_file import is_folder

_LEFTOVERS = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_OF_A_RUN = frozenset({"log.jsonl", "last.pt", "best.pt"})
"""A folder with one of these and a config.yaml is a training run."""
_RESULTS = frozenset({"detect", "segment", "pose", "obb"})
"""Ultralytics writes its results, which may hold label files, to runs/detect and the like."""


_MASKS = frozenset({"mask", "masks", "trimaps", "segmentationclass", "segmentationobject", "seg", "depth"})
"""words in names of folders whose pictures are named like the images"""


class _Picture(NamedTuple):
    path: Path
    folders: tuple[str, ...]
    """of its path relative to the root, normalised by `plain_parts`"""


class Survey:
    """The files below `root`, sorted. `problems` lists links that are not followed. Raises UserError if there is no
    such folder."""

    def __init__(self, root: Path) -> None:
        if not is_folder(root):
            kind = "is a file" if root.exists() else "does not exist"
            raise UserError(f"{root} {kind}: give the folder that holds the images and their annotations")
        self.root = root
        self._relative: dict[Path, PurePath] = {}
        self.problems: list[Problem] = []
        self.remarks: list[str] = []
        self.unclear: dict[Path, str] = {}
        """images that were found under a name which fits others as well"""
        doubles: dict[Path, Path] = {}
        files = files_below(root, self.problems, doubles)
        if doubles:
            files = sorted(self._through_links(path, doubles) for path in files)
        files = [path for path in files if not _is_leftover(self.relative(path))]
        left = _results(self.relative(path) for path in files)
        self.remarks += [f"{folder.as_posix()} holds results of a training and is not read" for folder in sorted(left)]
        if left:
            files = [path for path in files if not left & set(self.relative(path).parents)]
        self.images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        self._others: dict[str, list[Path]] = defaultdict(list)
        for path in files:
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                self._others[path.suffix.lower()].append(path)

    def _through_links(self, path: Path, doubles: Mapping[Path, Path]) -> Path:
        """The path through a link, if that names a split (images/train/camera2) and the folder does not."""
        if part_of_folders(self.relative(path).parent.parts) is None:
            real = Path(os.path.realpath(path.parent))
            for link, target in doubles.items():
                if real.is_relative_to(target) and part_of_folders(self.relative(link).parts) is not None:
                    return link / real.relative_to(target) / path.name
        return path

    def files(self, *suffixes: str) -> list[Path]:
        return sorted(path for suffix in suffixes for path in self._others.get(suffix, ()))

    def relative(self, path: Path) -> PurePath:
        found = self._relative.get(path)
        if found is None:
            found = self._relative[path] = path.relative_to(self.root)
        return found

    @cached_property
    def image_folders(self) -> dict[PurePath, list[Path]]:
        """The images of each folder that holds some, without those of its sub-folders."""
        found = defaultdict(list)
        for path in self.images:
            found[self.relative(path).parent].append(path)
        return dict(found)

    def suffixes(self) -> Counter[str]:
        """Counts of files by lower-case suffix."""
        counts = Counter({suffix or "(no suffix)": len(paths) for suffix, paths in self._others.items()})
        counts.update(path.suffix.lower() for path in self.images)
        return counts

    def find(self, name: str, near: Path, part: str | None = None) -> Path | None:
        """The image that an annotation file in the folder `near` calls `name`; None if there is none.

        A name is its last component, as exactly as tools write it: percent-encoding, upload prefixes, other suffixes
        and case are tolerated in this order. Of several, the image counts that shares most folders at the end of the
        name, then one that is not in a folder of masks, then one of the same split (`part`), then the one that shares
        most folders with `near`, then the first by path, which is kept in `unclear`.
        """
        wanted = plain_parts(name)
        if not wanted:
            return None
        named = (
            self._by_name.get(wanted[-1])
            or self._by_name.get(UPLOAD_PREFIX.sub("", wanted[-1]))
            or self._by_stem.get(wanted[-1])
            or self._by_stem.get(PurePath(wanted[-1]).stem if _ends_like_an_image(wanted[-1]) else "")
        )
        return self._best(named, wanted, near, part, name) if named else None

    def of_stem(self, stem: str, near: Path, part: str | None = None) -> Path | None:
        """The image of this name without suffix, as `find`."""
        named = self._by_stem.get(last_part(stem)) or self._by_name.get(last_part(stem))  # a.txt or a.jpg.txt
        return self._best(named, (), near, part, stem) if named else None

    def _best(
        self, named: list[_Picture], wanted: tuple[str, ...], near: Path, part: str | None, name: str
    ) -> Path | None:
        if len(named) == 1:
            return named[0].path
        around = Counter(plain_parts(self.relative(near).as_posix()))

        def rank(picture: _Picture) -> tuple[int, bool, bool, int, bool, int]:
            ending = 0
            for one, other in zip(reversed(picture.folders), reversed(wanted[:-1]), strict=False):
                if one != other:
                    break
                ending += 1
            shared = sum((around & Counter(picture.folders)).values())
            same_part = part is not None and part_of_folders(picture.folders) == part
            exact = name.endswith((picture.path.name, picture.path.stem))
            photo = not _MASKS & {word for folder in picture.folders for word in re.split(r"[\W_]+", folder)}
            return ending, photo, same_part, shared, exact, -len(picture.folders)

        best = max(named, key=rank)
        if sum(rank(picture) == rank(best) for picture in named) > 1:
            self.unclear[best.path] = name
        return best.path  # of equals the first by path

    @cached_property
    def annotation_stems(self) -> frozenset[str]:
        """Names of the files that may annotate one image each, normalised, without suffix."""
        return frozenset(last_part(path.stem) for path in self.files(".xml", ".json"))

    @cached_property
    def _by_name(self) -> dict[str, list[_Picture]]:
        return self._indexed(lambda path: path.name)

    @cached_property
    def _by_stem(self) -> dict[str, list[_Picture]]:
        return self._indexed(lambda path: path.stem)

    def _indexed(self, key: Callable[[Path], str]) -> dict[str, list[_Picture]]:
        found = defaultdict(list)
        for path in self.images:
            folders = plain_parts(self.relative(path).parent.as_posix())
            found[last_part(key(path))].append(_Picture(path, folders))
        return dict(found)


def _ends_like_an_image(name: str) -> bool:
    return PurePath(name).suffix in IMAGE_SUFFIXES


def _is_leftover(path: PurePath) -> bool:
    return any(part.startswith(".") or part.lower() in _LEFTOVERS for part in path.parts)


def _results(paths: Iterable[PurePath]) -> set[PurePath]:
    """Folders of training runs."""
    names: dict[PurePath, set[str]] = defaultdict(set)
    for path in paths:
        names[path.parent].add(path.name)
    above = {parent for folder in names for parent in (folder, *folder.parents)}
    found = {folder for folder in above if folder.name in _RESULTS and folder.parent.name == "runs"}
    return found | {folder for folder, held in names.items() if "config.yaml" in held and held & _OF_A_RUN}
