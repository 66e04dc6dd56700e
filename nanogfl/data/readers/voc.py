"""Pascal VOC: an xml file per image, and a list of the images of each split."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nanogfl.data.dataset import DataSet, ImageRecord, Problem
from nanogfl.data.readers.classes import Classes, choose_classes
from nanogfl.data.readers.files_below import files_below
from nanogfl.data.readers.image_folder import ImageFolder, inside, require_inside, require_name
from nanogfl.data.readers.image_sizes import image_sizes
from nanogfl.data.readers.validate import Objects, finish, refuse_fractions
from nanogfl.data.readers.voc_xml import VocAnnotation, read_xml
from nanogfl.errors import UserError
from nanogfl.io.images import IMAGE_SUFFIXES
from nanogfl.io.read_file import is_file, is_folder, read_lines

LAYOUT = "<bndbox> with four finite numbers xmin ymin xmax ymax"
_PAIR = re.compile(r"(.+?)\s+(\S.*\.xml)", re.IGNORECASE)
"""a line of PaddleDetection's lists: image and xml"""


class Usable(NamedTuple):
    """An image and its annotation, whose objects have names."""

    number: int
    """the image's id"""
    where: str
    """the annotation, for `problems`"""
    read: VocAnnotation
    image: Path


def load_voc(
    split_list: Path,
    images: Path,
    *,
    strict: bool = False,
    class_ids: tuple[int, ...] | None = None,
    class_names: tuple[str, ...] | None = None,
) -> DataSet:
    """Reads the images that `split_list` (ImageSets/Main/train.txt) names, one per line, without the suffix.

    Lines: also paths of images or xml files, or PaddleDetection's pairs of both; the xml of that name counts. The xml
    files lie in the folder Annotations beside the list, or up to two folders above it.

    Images: an xml's <filename>, or else the file of the xml's name, in `images` or a folder in it; a similar name is
    listed in `problems`. Image ids are line numbers of the list.

    Boxes: <bndbox> holds corner points x1 y1 x2 y2, as today's annotation tools write them. If <source><database> names
    a VOC database ("The VOC2007 Database"), the numbers are the object's first and last pixel, counted from 1:
    x1 = xmin - 1, x2 = xmax. Of a rotated box (<robndbox>, CVAT's attribute) the upright hull is taken, and listed.
    <difficult> objects are neither object nor background (`crowd`).

    Classes: the names in all xml files of the folder, sorted, with the category ids 1 .. C, so that every list of a
    folder has the same. With a model's `class_ids` and `class_names`: the model's, matched by name.

    Problems and errors are those of `load_split`.
    """
    folder = _annotation_folder(split_list)
    wanted = _listed_files(split_list, folder)
    found = ImageFolder(images, split_list)
    problems: list[Problem] = []
    below = [path for path in files_below(folder, problems) if path.suffix.lower() == ".xml"]
    parsed = {path: read_xml(path) for path in {*below, *wanted} if is_file(path)}
    classes, number_of = _choose_classes(split_list, folder, parsed, class_ids, class_names)
    usable = _pair(wanted, parsed, found, problems)
    label_of = {name: classes.label_of.get(number) for name, number in number_of.items()}
    records = collect_named(usable, images, label_of, LAYOUT, problems)
    refuse_fractions(split_list, records)
    return finish(split_list, images, classes, records, problems, listed=len(wanted), strict=strict)


def collect_named(
    usable: Sequence[Usable], images: Path, label_of: Mapping[str, int | None], layout: str, problems: list[Problem]
) -> list[ImageRecord]:
    """The images of the folder `images` with their objects. Sizes that are not stated are those of the images.

    label_of: name -> label; None or a missing name: a class whose objects are left out.
    layout: how a box is written, for `problems`.
    """
    unsized = [entry.image for entry in usable if entry.read.hw is None]
    sizes = dict(zip(unsized, image_sizes(unsized, images), strict=True))
    records = []
    for number, annotation, read, image in usable:
        hw = read.hw or sizes[image]
        if isinstance(hw, str):
            problems.append(Problem(image.name, f"unreadable image: {hw}"))
            continue
        collected = Objects(hw, problems, measured=not read.hw)
        for position, thing in enumerate(read.objects, start=1):
            where = f"{annotation}, object {position}"
            if not thing.name:
                problems.append(Problem(where, "no class: its name is missing or empty"))
                continue
            if thing.difficult is None:
                problems.append(Problem(where, "bad <difficult>, box left out: 0 or 1 expected"))
                continue
            box = collected.check(where, thing.box, thing.written, layout, thing.turn)
            label = label_of.get(thing.name)
            if box is not None and label is not None:
                collected.add(box, label, crowd=thing.difficult)
        records.append(collected.record(number, image))
    return records


def _choose_classes(
    split_list: Path,
    folder: Path,
    parsed: Mapping[Path, VocAnnotation | str],
    class_ids: tuple[int, ...] | None,
    class_names: tuple[str, ...] | None,
) -> tuple[Classes, dict[str, int]]:
    """The classes, and the folder's number of each name."""
    objects = [thing for read in parsed.values() if isinstance(read, VocAnnotation) for thing in read.objects]
    own = sorted({thing.name for thing in objects if thing.name})
    if not own:
        broken = next((f": {path.name}: {read}" for path, read in sorted(parsed.items()) if isinstance(read, str)), "")
        raise UserError(f"{folder} has no object with a class in any of its {len(parsed)} xml files{broken}")
    if class_names is not None and not set(own) & set(class_names):
        raise UserError(
            f"{folder} has none of the classes that the model was trained on ({', '.join(class_names[:10])}): its"
            f" classes are {', '.join(own[:10])}"
        )
    absent = sorted(set(class_names or ()) - set(own))  # classes of the model without objects here
    names = dict(enumerate([*own, *absent], start=1))
    classes = choose_classes(split_list, names, class_ids, class_names, numbered=False)
    return classes, {name: key for key, name in names.items()}


def _pair(
    wanted: Sequence[Path], parsed: Mapping[Path, VocAnnotation | str], found: ImageFolder, problems: list[Problem]
) -> list[Usable]:
    """Each xml with its image. Missing ones are listed. Raises UserError for an image with two xml files."""
    usable: list[Usable] = []
    owner: dict[Path, Path] = {}
    for number, path in enumerate(wanted, start=1):
        read = parsed.get(path, "annotation is missing: no such file in the folder")
        if isinstance(read, str):
            problems.append(Problem(path.name, read))
            continue
        image = found.there(read.filename)
        if image is None:
            image = _image_like(read.filename, path.stem, found)
            if image is None:
                problems.append(Problem(read.filename or path.stem, found.why_missing(read.filename or path.stem)))
                continue
            if (read.filename or path.stem) not in (image.name, image.stem):
                problems.append(Problem(f"{path.name}, <filename> {read.filename}", found.mended(image)))
        if image in owner:
            raise UserError(
                f"{found.file}: {owner[image].name} and {path.name} name the same image {image.name}: correct"
                " their <filename>"
            )
        owner[image] = path
        usable.append(Usable(number, path.name, read, image))
    return usable


def _annotation_folder(split_list: Path) -> Path:
    above = split_list.absolute().parents[:3]
    for parent in above:
        if is_folder(parent / "Annotations"):
            return parent / "Annotations"
    raise UserError(
        f"{split_list} is read as a VOC split list, but there is no folder 'Annotations' with its xml files in"
        f" {above[-1]} or on the way there: expected ANY/Annotations beside ANY/ImageSets/Main/train.txt"
    )


def _listed_files(split_list: Path, folder: Path) -> list[Path]:
    files: dict[Path, None] = {}
    for line in read_lines(split_list, "split list"):
        if not (name := line.strip().replace("\t", " ")):
            continue
        path = _xml_of(name, split_list, folder)
        if path in files:
            raise UserError(f"{split_list} lists {name} twice: remove one")
        files[path] = None
    if not files:
        raise UserError(f"{split_list} is empty: expected a VOC split list, one image name per line")
    return list(files)


def _xml_of(name: str, split_list: Path, folder: Path) -> Path:
    """The xml that a line of the list names, which may be missing. Raises UserError."""
    first, *rest = name.split()
    if rest in (["1"], ["0"], ["-1"]) and is_file(require_inside(folder, f"{first}.xml", split_list, "image")):
        raise UserError(
            f"{split_list} is the list of one class ('{name}'): give the list of the whole split, with"
            " one name per line, such as train.txt"
        )
    require_name(name, split_list, "image")
    pair = _PAIR.fullmatch(name)
    for text in (name, pair[2]) if pair else (name,):
        stem, dot, suffix = text.rpartition(".")
        plain = stem if f"{dot}{suffix}".lower() in {*IMAGE_SUFFIXES, ".xml"} else text
        parts = plain.replace("\\", "/").split("/")
        for candidate in (text, plain, *("/".join(parts[start:]) for start in range(1, len(parts)))):  # ends of a path
            path = inside(folder, f"{candidate}.xml")
            if path is not None and is_file(path):
                return path
    return require_inside(folder, f"{plain}.xml", split_list, "image")


def _image_like(filename: str, stem: str, images: ImageFolder) -> Path | None:
    """The image of an xml under a similar name, or None. Raises UserError if there are two."""
    candidates = images.like(filename) or images.of_stem(stem)
    if len(candidates) > 1:
        raise UserError(
            f"{images.file}: {candidates[0]} and {candidates[1]} could both be the image of {stem}.xml: give"
            " the folder of this split's images, or rename one"
        )
    return candidates[0] if candidates else None
