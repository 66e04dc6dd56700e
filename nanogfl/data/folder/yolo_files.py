"""YOLO's label files, each paired with its image, and the files that name their classes: data.yaml, obj.data, lists."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from nanogfl.data.dataset import Problem
from nanogfl.data.folder.candidate import Candidate, Item
from nanogfl.data.folder.part_names import part_of_folders
from nanogfl.data.folder.survey import Survey
from nanogfl.data.readers.values import to_number
from nanogfl.data.readers.yolo_labels import Line, read_label_lines
from nanogfl.data.readers.yolo_yaml import parse_data_yaml, read_yaml_as_text
from nanogfl.errors import UserError
from nanogfl.io.read_file import read_lines

NAME_LISTS = frozenset({"classes.txt", "obj.names", "class.names", "labels.txt", "predefined_classes.txt", "names.txt"})
_SAMPLE = 200
"""label files by which the kind of all text files is recognised"""
_PLACES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def read_yolo_files(survey: Survey) -> tuple[Candidate, list[str]]:
    """The candidate yolo, and a sentence about label files of another kind."""
    yolo = Candidate("yolo")
    of_image, alone = _pairs(survey, yolo.problems)
    kinds = Counter(_kind(label) for label in list(of_image.values())[:: max(1, len(of_image) // _SAMPLE)])
    if not kinds["yolo"] and (others := kinds - Counter({"": kinds[""], "empty": kinds["empty"]})):
        example = next(iter(of_image.values()))
        return Candidate("yolo"), [f"{survey.relative(example).as_posix()} and the like: {others.most_common(1)[0][0]}"]
    if not kinds["yolo"]:
        return Candidate("yolo"), []
    yolo.problems += [Problem(path.name, "label file without image: no image of its name") for path in alone]
    stems = {image.with_suffix("") for image in of_image}
    used = _used_numbers(of_image, yolo.problems)
    _describe(survey, used, yolo)
    yolo.items = [Item(image, label, None) for image, label in of_image.items()] + _background(
        survey, of_image, stems, yolo
    )
    yolo.items.sort(key=lambda item: item.image)
    return yolo, []


def _pairs(survey: Survey, problems: list[Problem]) -> tuple[dict[Path, Path], list[Path]]:
    """Each image with its label file, and the label files without an image."""
    labels: dict[Path, list[Path]] = defaultdict(list)
    alone = []
    for path in survey.files(".txt"):
        part = part_of_folders(survey.relative(path).parent.parts)
        if path.name.lower() in NAME_LISTS:
            continue
        if image := survey.of_stem(path.stem, path.parent, part):
            labels[image].append(path)
        elif _kind(path) == "yolo":
            alone.append(path)
    of_image = {}
    for image, paths in labels.items():
        around = Counter(survey.relative(image).parent.parts)
        best, *others = sorted(
            paths, key=lambda path: -sum((around & Counter(survey.relative(path).parent.parts)).values())
        )
        of_image[image] = best
        problems += [
            Problem(image.name, f"annotated twice: {survey.relative(best)} is used, {survey.relative(other)} is not")
            for other in others
        ]
    return dict(sorted(of_image.items())), alone


def _kind(path: Path) -> str:
    """yolo, empty, or a sentence about another kind; nothing for what is no label file."""
    try:
        lines = read_label_lines(path)
    except UserError:
        return ""
    if not lines:
        return "empty"
    if any(_is_yolo(line) for line in lines):
        return "yolo"
    for line in lines[:3]:  # DOTA's may begin with two lines about the image
        words = line.text.split()
        if len(words) in (15, 16) and not words[0][0].isdigit():
            return "KITTI's labels are not read: convert them to COCO, VOC or YOLO"
        if len(words) == 10 and not words[8][0].isdigit():
            return "DOTA's labels are not read: convert them to YOLO OBB or COCO"
        cells = line.text.strip(",").split(",")
        if len(cells) >= 6 and all(to_number(cell) is not None for cell in cells):
            return (
                "rows of numbers with commas, as VisDrone and MOT have them, are not read: convert them to COCO or YOLO"
            )
    return ""


def _is_yolo(line: Line) -> bool:
    numbers = line.numbers
    return numbers is not None and len(numbers) >= 5 and numbers[0] >= 0 and numbers[0] == int(min(numbers[0], 1e9))


def _background(survey: Survey, of_image: dict[Path, Path], stems: set[Path], yolo: Candidate) -> list[Item]:
    """Images without a label file, which have no objects, in the folders where others have one."""
    folders = {image.parent for image in of_image}
    items, elsewhere = [], 0
    for image in survey.images:
        if image in of_image:
            continue
        if image.with_suffix("") in stems:  # or its label file cannot be read
            yolo.problems.append(
                Problem(image.name, "image left out: its label file is unusable, or that of another image of its name")
            )
        elif image.parent in folders:
            items.append(Item(image, image, None))
        else:
            elsewhere += 1
    if items:
        yolo.remarks.append(f"{len(items)} of {len(of_image) + len(items)} images have no label file: background")
    if elsewhere:
        yolo.remarks.append(f"{elsewhere} images are left out: no image of their folder has a label file")
    return items


def _describe(survey: Survey, used: Counter[int], yolo: Candidate) -> None:
    """The classes' names, and the splits that a data.yaml states."""
    named = ""
    for path in survey.files(".yaml", ".yml"):
        try:
            content = read_yaml_as_text(path)
        except UserError as error:
            yolo.remarks.append(f"{path.name} is not used: {error}")
            continue
        if not isinstance(content, dict) or "names" not in content:
            continue
        if named:
            yolo.remarks.append(f"{survey.relative(path)} is not used: {named} is read")
        elif _read_yaml(content, path, yolo):
            named = str(survey.relative(path))
    for path in () if yolo.places else survey.files(".data"):
        _read_obj_data(path, yolo)
    if not yolo.names:
        _read_name_list(survey, yolo)
    _name_the_rest(used, named, yolo)


def _read_yaml(content: dict[Any, Any], path: Path, yolo: Candidate) -> bool:
    try:
        try:
            described = parse_data_yaml(content, path)
        except UserError as error:  # a wrong nc does not matter if the labels fit the names
            described = parse_data_yaml({key: value for key, value in content.items() if key != "nc"}, path)
            yolo.remarks.append(f"{error}; the names are taken")
    except UserError as error:
        yolo.remarks.append(f"{path.name} is not used: {error}")
        return False
    yolo.names, yolo.keypoints = described.names, described.keypoints
    places = dict(described.parts)
    if not places.get("val") and isinstance(content.get("valid"), str):
        places["val"] = (content["valid"],)
    yolo.places = {part: named for part, named in places.items() if named}
    return True


def _read_obj_data(path: Path, yolo: Candidate) -> None:
    """Darknet's: lines of key = value."""
    try:
        pairs = [line.split("=", 1) for line in read_lines(path, "data file") if "=" in line]
    except UserError as error:
        yolo.remarks.append(f"{path.name} is not used: {error}")
        return
    values = {key.strip().lower(): value.strip() for key, value in pairs}
    for part, keys in _PLACES.items():
        if found := next((values[key] for key in keys if values.get(key)), None):
            yolo.places[part] = (found,)


def _read_name_list(survey: Survey, yolo: Candidate) -> None:
    lists = [path for path in survey.files(".txt", ".names") if path.name.lower() in NAME_LISTS]
    lists += [path for path in survey.files(".names") if path not in lists]
    for path in lists:
        try:
            names = [line.strip() for line in read_lines(path, "list of classes")]
        except UserError as error:
            yolo.remarks.append(f"{path.name} is not used: {error}")
            continue
        while names and not names[-1]:
            names.pop()
        if names and all(names) and len(set(names)) == len(names):
            yolo.names = dict(enumerate(names))
            yolo.remarks.append(f"classes are those of {survey.relative(path).as_posix()}")
            return


def _name_the_rest(used: Counter[int], named: str, yolo: Candidate) -> None:
    """Class numbers without a name get their number as a name."""
    if not (unnamed := sorted(used.keys() - yolo.names.keys())):
        return
    counted = ", ".join(f"{number} ({used[number]} boxes)" for number in unnamed[:5])
    if yolo.names:
        source = named or "the list of classes"
        yolo.remarks.append(f"{source} names {len(yolo.names)} classes, and the labels also use {counted}")
    else:
        yolo.remarks.append(f"no names of classes were found, their numbers are taken: {counted}; --classes names them")
    taken = set(yolo.names.values())
    yolo.names |= {n: str(n) if str(n) not in taken else f"class {n}" for n in unnamed}
    yolo.names = dict(sorted(yolo.names.items()))


def _used_numbers(of_image: dict[Path, Path], problems: list[Problem]) -> Counter[int]:
    """Class number -> boxes. Removes images whose label file is not text."""
    used: Counter[int] = Counter()
    for image, path in list(of_image.items()):
        try:
            used.update(int(line.numbers[0]) for line in read_label_lines(path) if line.numbers and _is_yolo(line))
        except UserError as error:
            problems.append(Problem(image.name, f"image left out: {error}"))
            del of_image[image]
    return used
