"""YOLO's data.yaml: class names, keypoints, and the folders of the images."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nanogfl.data.dataset import Problem
from nanogfl.data.readers.values import to_index
from nanogfl.errors import UserError
from nanogfl.io.read_file import is_file, read_lines
from nanogfl.io.yaml_file import read_yaml

_PARTS = ("train", "val", "test")
_MOST_KEYPOINTS = 10_000


class DataYaml(NamedTuple):
    file: Path
    names: dict[int, str]
    """class number -> name, by number"""
    keypoints: int | None
    """numbers per object, the product of kpt_shape; None if the file does not say"""
    parts: dict[str, tuple[str, ...]]
    """train, val, test as written: folders, or lists of images"""
    root: Path
    """the folder that these are relative to"""

    def hint(self) -> str:
        """Where the images are, for an error."""
        said = ", ".join(f"{part}: {' and '.join(places)}" for part, places in self.parts.items() if places)
        return f"; {self.file} says {said}" if said else ""

    def unused_parts(self, folder: Path, images: Sequence[Path]) -> list[Problem]:
        """Lists of images and further folders, which are not read, because `folder` counts. Raises UserError if two
        lists share the images of `folder`: each split would have the images of both."""
        own = Path(os.path.abspath(folder))
        problems: list[Problem] = []
        listed: dict[str, frozenset[str]] = {}
        for part, places in self.parts.items():
            where = f"{self.file.name}, {part}"
            folders = [Path(os.path.abspath(self.root / place)) for place in places if not _is_list(place)]
            if own in folders:
                others = [other for other in folders if not other.is_relative_to(own)]
                problems += [Problem(where, f"folder is not read: {other}, as {folder} is given") for other in others]
            names = frozenset(name for place in places if _is_list(place) for name in self._names_in(place))
            if taken := frozenset(path.name for path in images if path.name in names):
                listed[part] = taken
                if len(taken) < len(images):
                    counted = f"it has {len(taken)} of the {len(images)} images in {folder}, and all are read"
                    problems.append(Problem(where, f"list of images is not used: {counted}"))
        if len(set(listed.values())) > 1:
            raise UserError(
                f"{self.file}: {' and '.join(listed)} are lists that share the images in {folder}, and lists are not"
                " read: put the images of each split into a folder of its own, and their labels likewise"
            )
        return problems

    def _names_in(self, place: str) -> list[str]:
        """The names of the images in a list; empty if it is not on this machine."""
        file = self.root / place
        lines = read_lines(file, "list of images") if is_file(file) else []
        return [line.strip().replace("\\", "/").rpartition("/")[2] for line in lines]


def read_data_yaml(file: Path) -> DataYaml:
    """Raises UserError for a file that does not give each class its own name."""
    return parse_data_yaml(read_yaml_as_text(file), file)


def read_yaml_as_text(file: Path) -> Any:
    """As text: a class called 'no' stays 'no'. Raises UserError."""
    return read_yaml(file, "data file", "check data.root and the split's annotations", as_text=True)


def parse_data_yaml(content: Any, file: Path) -> DataYaml:
    """From the content of `file`, all as text. Raises UserError as `read_data_yaml` does."""
    if not isinstance(content, dict):
        raise UserError(f"{file} must hold keys and values, with 'names', as YOLO's data.yaml does")
    root = content.get("path")
    parts = {part: _places(content.get(part)) for part in _PARTS}
    below = file.parent / root.strip() if isinstance(root, str) else file.parent
    return DataYaml(file, _names(content, file), _keypoints(content, file), parts, below)


def _names(content: dict[Any, Any], file: Path) -> dict[int, str]:
    """Class number -> name."""
    if "names" not in content:
        raise UserError(f"{file} has no 'names': expected the list of class names, as in YOLO's data.yaml")
    listed = content["names"]
    if isinstance(listed, list):
        pairs: list[tuple[Any, Any]] = list(enumerate(listed))
    elif isinstance(listed, dict):
        pairs = list(listed.items())
    else:
        raise UserError(f"{file}: names must be a list of class names, or give each class number its name")
    names: dict[int, str] = {}
    taken: set[str] = set()
    for key, name in pairs:
        number = key if isinstance(key, int) else to_index(key)
        if number is None:
            raise UserError(f"{file}: names has the key '{str(key)[:80]}': class numbers from 0 are expected")
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{file}: class {number} has no name: give it one, in quotes if it is empty or a sign")
        if number in names:
            raise UserError(f"{file}: two classes have the number {number}: give each its own")
        if name in taken:
            raise UserError(f"{file}: two classes have the name '{name}': give each its own")
        names[number] = name
        taken.add(name)
    if not names:
        raise UserError(f"{file} names no classes: at least one is needed")
    count = content.get("nc")
    if count is not None and count != str(len(names)):
        shown = f"'{count[:20]}'" if isinstance(count, str) else "no number"
        raise UserError(f"{file}: nc is {shown}, but {len(names)} classes have names: correct one of them")
    return dict(sorted(names.items()))


def _keypoints(content: dict[Any, Any], file: Path) -> int | None:
    shape = content.get("kpt_shape")
    if shape in (None, "", "~", "null"):
        return None
    numbers = [to_index(text) for text in shape] if isinstance(shape, list) else []
    match numbers:
        case [0, int()]:
            return 0
        case [int(count), 2 | 3 as each] if count <= _MOST_KEYPOINTS:
            return count * each
    raise UserError(f"{file}: kpt_shape is {str(shape)[:80]}: the number of keypoints and 2 or 3 expected, as [17, 3]")


def _places(value: Any) -> tuple[str, ...]:
    places = value if isinstance(value, list) else [value]
    return tuple(place.strip() for place in places if isinstance(place, str) and place.strip())


def _is_list(place: str) -> bool:
    return place.lower().endswith(".txt")
