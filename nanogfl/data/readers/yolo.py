"""YOLO's layout: a data.yaml with the class names, and a text file of normalised boxes per image."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nanogfl.data.dataset import DataSet, ImageRecord, Problem
from nanogfl.data.readers.classes import choose_classes
from nanogfl.data.readers.files_below import files_below
from nanogfl.data.readers.image_folder import require_folder
from nanogfl.data.readers.image_sizes import image_sizes
from nanogfl.data.readers.validate import Objects, finish
from nanogfl.data.readers.yolo_labels import Layout, box_of, find_layout, read_label_lines
from nanogfl.data.readers.yolo_yaml import DataYaml, read_data_yaml
from nanogfl.errors import UserError
from nanogfl.io.images import IMAGE_SUFFIXES
from nanogfl.io.read_file import is_file, is_folder

_NOT_LABELS = frozenset({"classes.txt"})
"""LabelImg writes its class names beside the labels"""
_IMAGE_FOLDERS = frozenset({"images", "jpegimages"})
_OTHER_PICTURES = frozenset(
    {".jfif", ".jpe", ".gif", ".heic", ".heif", ".avif", ".jp2", ".pgm", ".ppm", ".pnm", ".dng"}
)
"""suffixes of pictures that are not read"""


def load_yolo(
    data_yaml: Path,
    images: Path,
    *,
    strict: bool = False,
    class_ids: tuple[int, ...] | None = None,
    class_names: tuple[str, ...] | None = None,
) -> DataSet:
    """Reads every image below `images`, the folder of one split, with the class names of `data_yaml`.

    Labels: those of images/train/a.jpg lie in labels/train/a.txt. The last folder called images (Images, JPEGImages) in
    the path becomes labels; without one, labels lie beside the images. An image without a label file has no objects.

    Lines: `class cx cy w h`, normalised by the image's width and height; or a polygon, `class x y x y x y ...`, whose
    hull is the box; or, with data.yaml's `kpt_shape` or by the rule of `find_layout`, a box with keypoints, which are
    not used.

    Category ids are the class numbers, from 0; image ids count the images by name. With a model's `class_ids` and
    `class_names`: the model's classes, matched by name. `train`, `val` and `test` of data.yaml are not used; where that
    changes what is read, it is listed or refused.

    Problems and errors are those of `load_split`. A class number without a name is always an error.
    """
    described = read_data_yaml(data_yaml)
    classes = choose_classes(data_yaml, described.names, class_ids, class_names)
    require_folder(images, described.hint())
    problems: list[Problem] = []
    files = files_below(images, problems)
    paths = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    problems += described.unused_parts(images, paths)
    label_of = _labels_of(paths, data_yaml)
    there = _labels_there(label_of, images, problems)
    others = [path for path in files if path.suffix.lower() in _OTHER_PICTURES - IMAGE_SUFFIXES]
    problems += [Problem(path.name, f"picture is of a kind that is not read: {path.suffix}") for path in others]
    picture_of = {labels_folder(path.parent) / path.stem: path for path in others}
    for label in sorted(there.keys() - set(label_of.values())):
        advice = f"none of its name in {images}"
        if other := picture_of.get(label):
            advice = f"no image is read from {other.name}, convert it to .jpg or .png"
        problems.append(Problem(there[label].name, f"label file without image: {advice}"))
    pairs = [(path, there.get(label_of[path])) for path in paths]
    records = collect_labelled(pairs, images, described, classes.label_of, problems)
    return finish(data_yaml, images, classes, records, problems, listed=len(paths), strict=strict)


def collect_labelled(
    pairs: Sequence[tuple[Path, Path | None]],
    images: Path,
    described: DataYaml,
    label_of: Mapping[int, int],
    problems: list[Problem],
    *,
    lenient: bool = False,
) -> list[ImageRecord]:
    """The images of the folder `images`, each with its label file or None, and their objects. Image ids count the pairs
    from 1. A class without a name is a problem if `lenient`. Raises UserError for it otherwise."""
    layout = find_layout([file for _, file in pairs if file], described.keypoints)
    if layout.said:
        problems.append(Problem(described.file.name, layout.said))
    records = []
    sizes = image_sizes([path for path, _ in pairs], images)
    for number, ((path, file), hw) in enumerate(zip(pairs, sizes, strict=True), start=1):
        if isinstance(hw, str):
            problems.append(Problem(path.name, f"unreadable image: {hw}"))
            continue
        objects = Objects(hw, problems, measured=True)
        if file:
            _read_labels(file, layout, objects, described, label_of, lenient)
        records.append(objects.record(number, path))
    return records


def _read_labels(
    file: Path, layout: Layout, objects: Objects, described: DataYaml, label_of: Mapping[int, int], lenient: bool
) -> None:
    """Adds the file's objects. Raises UserError for a class without a name unless `lenient`, and for binary files."""
    names = described.names
    for line in read_label_lines(file):
        written = repr(line.text[:80])
        shape = layout.shape(line)
        if line.numbers is None or shape is None:
            objects.problems.append(Problem(line.where, f"bad line: {layout.expected()} expected, got {written}"))
            continue
        number = line.numbers[0]
        if number not in names and lenient:
            objects.problems.append(Problem(line.where, f"bad line: a class number expected, got {written}"))
            continue
        if number not in names:
            raise UserError(
                f"{file.parent / line.where}: class {number:g} has no name in {described.file}, whose {len(names)}"
                f" classes are {', '.join(f'{n} {name}' for n, name in list(names.items())[:10])}"
            )
        expected = "finite numbers of 0 .. 1, parts of the image,"
        box = objects.check(line.where, box_of(shape, objects.hw), written, expected)
        label = label_of.get(int(number))
        if box is not None and label is not None:
            objects.add(box, label, crowd=False)


def labels_folder(images: Path) -> Path:
    """The folder of the labels of the images in this folder."""
    parts = images.absolute().parts
    places = [place for place, part in enumerate(parts) if part.lower() in _IMAGE_FOLDERS]
    if not places:
        return images
    last = places[-1]
    folders = [Path(*parts[:last], name, *parts[last + 1 :]) for name in ("labels", "Labels", "LABELS")]
    found = next((folder for folder in folders if is_folder(folder)), None)
    return found or (folders[0] if parts[last] == "images" else images)


def _labels_of(paths: Sequence[Path], data_yaml: Path) -> dict[Path, Path]:
    """image -> its label file without .txt, which may be missing. Raises UserError for two images with the same."""
    folder_of = {folder: labels_folder(folder) for folder in {path.parent for path in paths}}
    label_of = {path: folder_of[path.parent] / path.stem for path in paths}
    owner: dict[Path, Path] = {}
    for path, label in label_of.items():
        if label in owner:
            raise UserError(f"{data_yaml}: {owner[label]} and {path.name} have the same label file: rename one of them")
        owner[label] = path
    return label_of


def _labels_there(label_of: Mapping[Path, Path], images: Path, problems: list[Problem]) -> dict[Path, Path]:
    """The label files in all label folders, by their paths without .txt. Raises UserError if there are none, and for
    two of one name."""
    root = labels_folder(images)
    folders = {label.parent for label in label_of.values()}
    files = {path for folder in folders if is_folder(folder) for path in _files_in(folder)}
    if root != images and is_folder(root):
        files |= set(files_below(root, problems))
    found: dict[Path, Path] = {}
    for path in sorted(files):
        if path.suffix.lower() == ".txt" and path.name not in _NOT_LABELS:
            if path.with_suffix("") in found:
                raise UserError(f"{path} and {found[path.with_suffix('')].name} are labels of one name: remove one")
            found[path.with_suffix("")] = path
    if not found:
        raise UserError(
            f"{root} holds no label files (.txt) for the images in {images}: the last folder 'images' of that path"
            " becomes 'labels'; without one they lie beside the images"
        )
    return found


def _files_in(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if is_file(path)]
    except OSError as error:
        raise UserError(f"label folder {folder} cannot be read ({error.strerror}): check its permissions") from None
