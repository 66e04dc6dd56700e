"""YOLO's layout: a data.yaml that names the classes, and a text file of normalised boxes for each image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nanogfl.contract.errors import UserError
from nanogfl.contract.frames import IMAGE_SUFFIXES
from nanogfl.contract.read_file import is_folder, read_lines
from nanogfl.data.checks import Objects, choose_classes, finish, to_number
from nanogfl.data.image_sizes import image_sizes
from nanogfl.data.index import DataSet, Problem
from nanogfl.yaml_file import read_yaml

_MOST_LABEL_BYTES = 16_000_000
"""of one image: polygons of a thousand objects take some 5 MB"""
_SLACK = 0.01
"""by which a normalised number may miss 0 .. 1 through rounding; beyond, it is no normalised number"""
_NOT_LABELS = frozenset({"classes.txt"})
"""LabelImg writes its class names beside the labels"""


def load_yolo(
    data_yaml: Path,
    images: Path,
    *,
    strict: bool = False,
    class_ids: tuple[int, ...] | None = None,
    class_names: tuple[str, ...] | None = None,
) -> DataSet:
    """Reads every image below the folder `images`, which is that of one split, with the class names of `data_yaml`.

    The labels of images/train/a.jpg lie in labels/train/a.txt: the last folder of the path that is called images
    becomes labels; without one they lie beside the images. A line is `class cx cy w h`, normalised by the image's
    width and height, or `class x y x y x y ...`, a polygon, whose hull is the box. An image without a label file has
    no objects. Category ids are the class numbers, from 0; image ids count the images by name. With a model's
    `class_ids` and `class_names` the classes are the model's, found by name. What else data.yaml says is not used.

    What cannot be used is left out and listed in `problems`; with `strict` the first is a UserError. A class number
    that has no name is always one.
    """
    names = read_names(data_yaml)
    classes = choose_classes(data_yaml, names, class_ids, class_names)
    if not is_folder(images):
        raise UserError(f"image folder {images} does not exist: check data.root and the split's images")
    paths = sorted(path for path in images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    file_of = _label_files(paths, data_yaml)
    there = _files_there(file_of, images)
    problems = [
        Problem(path.name, f"label file without image: none of its name in {images}")
        for path in sorted(there - set(file_of.values()))
    ]
    records = []
    for number, (path, hw) in enumerate(zip(paths, image_sizes(paths, images), strict=True), start=1):
        if isinstance(hw, str):
            problems.append(Problem(path.name, f"unreadable image: {hw}"))
            continue
        objects = Objects(hw, problems, measured=True)
        if file_of[path] in there:
            _read_labels(file_of[path], objects, data_yaml, names, classes.label_of)
        records.append(objects.record(number, path))
    return finish(data_yaml, images, classes, records, problems, listed=len(paths), strict=strict)


def _read_labels(
    file: Path, objects: Objects, data_yaml: Path, names: Mapping[int, str], label_of: Mapping[int, int]
) -> None:
    """Adds the file's objects. Raises UserError for a class without a name, and for what is no text."""
    for position, line in enumerate(read_lines(file, "label file", _MOST_LABEL_BYTES), start=1):
        if not line.strip():
            continue
        where = f"{file.name}, line {position}"
        written = repr(line.strip()[:80])
        numbers = [number for text in line.split() if (number := to_number(text)) is not None]
        polygon = len(numbers) >= 7 and len(numbers) % 2 == 1
        if len(numbers) != len(line.split()) or not (len(numbers) == 5 or polygon):
            reason = f"bad line: 'class cx cy w h' or a class and a polygon expected, got {written}"
            objects.problems.append(Problem(where, reason))
            continue
        number, *shape = numbers
        if number not in names:
            raise UserError(
                f"{file}, line {position}: class {number:g} has no name in {data_yaml}, whose {len(names)} classes are"
                f" {', '.join(f'{n} {name}' for n, name in list(names.items())[:10])}"
            )
        box = objects.check(where, _box(shape, objects.hw), written, "finite numbers of 0 .. 1, parts of the image,")
        label = label_of.get(int(number))
        if box is not None and label is not None:
            objects.add(box, label, crowd=False)


def read_names(data_yaml: Path) -> dict[int, str]:
    """Class number -> name, rising. Raises UserError for what does not give each class a name of its own."""
    # as text: a class called 'no' stays 'no'
    content = read_yaml(data_yaml, "data file", "check data.root and the split's annotations", as_text=True)
    if not isinstance(content, dict):
        raise UserError(f"{data_yaml} must hold keys and values, with 'names', as YOLO's data.yaml does")
    if "names" not in content:
        raise UserError(f"{data_yaml} has no 'names': expected the list of class names, as in YOLO's data.yaml")
    listed = content["names"]
    if isinstance(listed, list):
        pairs: list[tuple[Any, Any]] = list(enumerate(listed))
    elif isinstance(listed, dict):
        pairs = list(listed.items())
    else:
        raise UserError(f"{data_yaml}: names must be a list of class names, or give each class number its name")
    names: dict[int, str] = {}
    taken: set[str] = set()
    for key, name in pairs:
        number = key if isinstance(key, int) else _class_number(key)
        if number is None:
            raise UserError(f"{data_yaml}: names has the key '{str(key)[:80]}': class numbers from 0 are expected")
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{data_yaml}: class {number} has no name: give it one, in quotes if it is empty or a sign")
        if number in names:
            raise UserError(f"{data_yaml}: two classes have the number {number}: give each its own")
        if name in taken:
            raise UserError(f"{data_yaml}: two classes have the name '{name}': give each its own")
        names[number] = name
        taken.add(name)
    if not names:
        raise UserError(f"{data_yaml} names no classes: at least one is needed")
    count = content.get("nc")
    if count is not None and count != str(len(names)):
        shown = f"'{count[:20]}'" if isinstance(count, str) else "no number"
        raise UserError(f"{data_yaml}: nc is {shown}, but {len(names)} classes have names: correct one of them")
    return dict(sorted(names.items()))


def labels_folder(images: Path) -> Path:
    """Where the labels of the images in this folder lie."""
    parts = images.absolute().parts
    if "images" not in parts:
        return images
    last = len(parts) - 1 - parts[::-1].index("images")
    return Path(*parts[:last], "labels", *parts[last + 1 :])


def _label_files(paths: Sequence[Path], data_yaml: Path) -> dict[Path, Path]:
    """image -> its label file, which may not be there. Raises UserError for two images with the same one."""
    folder_of = {folder: labels_folder(folder) for folder in {path.parent for path in paths}}
    file_of = {path: folder_of[path.parent] / f"{path.stem}.txt" for path in paths}
    owner: dict[Path, Path] = {}
    for path, file in file_of.items():
        if file in owner:
            raise UserError(f"{data_yaml}: {owner[file]} and {path.name} have the same label file: rename one of them")
        owner[file] = path
    return file_of


def _files_there(file_of: Mapping[Path, Path], images: Path) -> set[Path]:
    """The label files in all of the folders where some belong. Raises UserError where there is none at all."""
    root = labels_folder(images)
    found = {path for folder in {file.parent for file in file_of.values()} for path in folder.glob("*.txt")}
    if root != images:
        found |= set(root.rglob("*.txt"))
    found = {path for path in found if path.name not in _NOT_LABELS and path.is_file()}
    if not found:
        raise UserError(
            f"{root} holds no label files (.txt) for the images in {images}: the last folder 'images' of that path"
            " becomes 'labels'; without one they lie beside the images"
        )
    return found


def _box(shape: Sequence[float], hw: tuple[int, int]) -> tuple[float, ...] | None:
    """x y width height in pixels, or None where the numbers are no parts of the image."""
    if not all(-_SLACK <= value <= 1 + _SLACK for value in shape):
        return None
    height, width = hw
    if len(shape) == 4:
        cx, cy, w, h = shape
        return (cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height
    xs, ys = shape[0::2], shape[1::2]
    return min(xs) * width, min(ys) * height, (max(xs) - min(xs)) * width, (max(ys) - min(ys)) * height


def _class_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
