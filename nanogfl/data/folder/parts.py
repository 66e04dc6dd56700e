"""Divides the images of a folder into train, val and test, as the folder itself or the user says."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nanogfl.data.dataset import Problem
from nanogfl.data.folder.candidate import Candidate, Item, without_doubles
from nanogfl.data.folder.part_names import PARTS, part_of_file, part_of_folders
from nanogfl.data.folder.survey import Survey
from nanogfl.data.readers.image_folder import last_part, plain_parts
from nanogfl.errors import UserError
from nanogfl.io.images import IMAGE_SUFFIXES
from nanogfl.io.read_file import is_file, is_folder, read_lines

_OF_ONE_CLASS = re.compile(r"\S+\s+-?[01]")
"""a line of VOC's lists per class, such as cat_train.txt"""
_EVERYTHING = ("trainval", "default", "all")
"""lists that count as train where no other list does"""


@dataclass
class _Listed:
    """The images that a list names, and names that may be those of xml files."""

    images: set[Path] = field(default_factory=set)
    stems: set[str] = field(default_factory=set)

    def holds(self, item: Item) -> bool:
        return item.image in self.images or (item.source != item.image and last_part(item.source.stem) in self.stems)


def divide(
    survey: Survey, candidate: Candidate, train: Path | None, val: Path | None, remarks: list[str]
) -> dict[str, list[Item]]:
    """The images of train, val and test. train is never empty; the others are there if they have images.

    What decides, in this order: the user; the annotation file; data.yaml or obj.data; lists of images; the folder of
    the image; that of its annotation. Raises UserError if there is no image.
    """
    items = without_doubles(candidate.items, candidate.problems)
    stated = _stated(survey, candidate, remarks)
    given = {part: items_of(survey, where, items, part) for part, where in (("train", train), ("val", val)) if where}
    chosen = {(item.image, item.source) for found in given.values() for item in found}
    parts: dict[str | None, list[Item]] = defaultdict(list)
    for item in items:
        if (item.image, item.source) not in chosen:
            for part in _parts_of(survey, item, stated):
                parts[part].append(item)
    for part, found in given.items():
        if parts[part]:
            remarks.append(f"{len(parts[part])} other images of {part} are left out, because {part} is given")
        parts[part] = found
    _settle(survey, parts, remarks)
    return {part: _without_copies(survey, parts[part], candidate.problems) for part in PARTS if parts.get(part)}


def items_of(survey: Survey, where: Path, items: Sequence[Item], part: str) -> list[Item]:
    """Those of a folder, a list of images or an annotation file, which lies in the root. Raises UserError."""
    path = where if where.is_absolute() else survey.root / where
    if not path.exists() and where.exists():
        path = where.absolute()
    if is_folder(path):
        resolved = path.resolve()

        def holds(item: Item) -> bool:
            return any(resolved in file.resolve().parents or path in file.parents for file in (item.image, item.source))

        found = [item for item in items if holds(item)]
    elif is_file(path):
        found = [item for item in items if item.source.resolve() == path.resolve()]
        if not found and path.suffix.lower() == ".txt":
            listed = _read_list(survey, path)
            found = [item for item in items if listed.holds(item)]
    else:
        raise UserError(
            f"--{part} {where} does not exist in {survey.root}: give a folder, a list or an annotation file"
        )
    if not found:
        raise UserError(
            f"--{part} {where} holds none of the {len(items)} annotated images in {survey.root}: give a folder of"
            " images, a .txt list of images, or an annotation file in it"
        )
    return found


def _parts_of(survey: Survey, item: Item, stated: Mapping[str, _Listed]) -> list[str | None]:
    if item.part:
        return [item.part]
    if listed := [part for part, names in stated.items() if names.holds(item)]:
        return [*listed]
    by_folder = part_of_folders(survey.relative(item.image).parent.parts)
    by_folder = by_folder or part_of_folders(survey.relative(item.source).parent.parts)
    return [None if by_folder in stated else by_folder]


def _settle(survey: Survey, parts: dict[str | None, list[Item]], remarks: list[str]) -> None:
    """Gives images without a split to train if there is no train, or leaves them out."""
    rest = parts.pop(None, [])
    if rest and not parts.get("train"):
        parts["train"] = rest
    elif rest:
        folders = sorted({survey.relative(item.image).parent.as_posix() for item in rest})
        shown = ", ".join(folders[:3]) + (" ..." if len(folders) > 3 else "")
        remarks.append(f"{len(rest)} images belong to no split and are left out: they are in {shown}")
    if not parts.get("train"):
        other = next((part for part in ("val", "test") if parts.get(part)), None)
        if other is None:
            raise UserError(f"{survey.root} has no annotated image")
        parts["train"] = parts.pop(other)
        remarks.append(f"there is no train part: {other} is taken as train")
    images = {part: {item.image for item in found} for part, found in parts.items()}
    for part in ("val", "test"):
        if parts.get(part) and images[part] == images["train"]:
            del parts[part]
            remarks.append(f"{part} and train are the same images: they are taken as train")


def _without_copies(survey: Survey, items: list[Item], problems: list[Problem]) -> list[Item]:
    """Without files of one name, size and content in several folders of one split, such as valid and val."""
    kept: dict[tuple[str, int], Item] = {}
    found = []
    for item in items:
        key = item.image.name, item.image.stat().st_size
        first = kept.setdefault(key, item)
        if first.image.parent != item.image.parent and first.image.read_bytes() == item.image.read_bytes():
            reason = f"copy of another image, left out: {survey.relative(first.image).as_posix()}"
            problems.append(Problem(survey.relative(item.image).as_posix(), reason))
        else:
            found.append(item)
    return found


def _stated(survey: Survey, candidate: Candidate, remarks: list[str]) -> dict[str, _Listed]:
    """The splits of data.yaml or obj.data if their train part is here, or else those of lists."""
    stated = {}
    for part, places in candidate.places.items():
        found = _Listed()
        for place in places:
            images = _placed(survey, place)
            if images is None:
                remarks.append(f"{part} of the data file is not here: {place[:200]}")
            else:
                found.images |= images
        if found.images:
            stated[part] = found
    if "train" in stated:
        if "val" in stated and stated["val"].images == stated["train"].images:
            remarks.append("the data file gives train and val the same images: they are taken as train")
            del stated["val"]
        return stated
    return _lists(survey)


def _placed(survey: Survey, place: str) -> set[Path] | None:
    """The images of a folder or list that is written as a path of another machine, or of another folder: the one in
    the root whose path ends most like it. None if there is none."""
    wanted = plain_parts(place)
    if place.lower().endswith((".txt", ".list")):
        lists = [path for path in survey.files(".txt", ".list") if last_part(path.name) == wanted[-1]]
        if not lists:
            return None
        best = max(lists, key=lambda path: _common_ending(plain_parts(survey.relative(path).as_posix()), wanted))
        return _read_list(survey, best).images
    while wanted and any(sign in wanted[-1] for sign in "*?["):  # images/train/*.jpg
        wanted = wanted[:-1]
    held = survey.image_folders
    folders = {folder for below in held for folder in (below, *below.parents)}
    # valid/images is not found in train/images: the folder that names the split has to be there
    named = [place for place, part in enumerate(reversed(wanted), start=1) if part_of_folders([part])]
    least = named[0] if named else 1
    ranked = [(_common_ending(plain_parts(folder.as_posix()), wanted), folder) for folder in folders]
    best_ending = max((ending for ending, _ in ranked), default=0)
    if best_ending < least:
        return None
    folder = min((folder for ending, folder in ranked if ending == best_ending), key=lambda path: len(path.parts))
    below = [images for place, images in held.items() if place.is_relative_to(folder)]
    return {image for images in below for image in images}


def _common_ending(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count


def _lists(survey: Survey) -> dict[str, _Listed]:
    """The images that lists such as train.txt or ImageSets/Main/val.txt name."""
    found: dict[str, list[tuple[bool, _Listed]]] = defaultdict(list)
    for path in survey.files(".txt"):
        name = path.stem.casefold()
        part = name if name in _EVERYTHING else part_of_file(name)
        if part is None or survey.of_stem(path.stem, path.parent):
            continue
        listed = _read_list(survey, path)
        if listed.images or listed.stems:
            found[part].append((path.parent.name == "Main", listed))
    stated = {part: _one_list(found[part]) for part in PARTS if part in found}
    if "train" not in stated and (
        every := next((_one_list(found[name]) for name in _EVERYTHING if name in found), None)
    ):
        held = _Listed(set[Path]().union(*(names.images for names in stated.values())))
        held.stems = set[str]().union(*(names.stems for names in stated.values()))
        stated["train"] = _Listed(every.images - held.images, every.stems - held.stems)
    if "val" in stated and "train" in stated and stated["val"] == stated["train"]:
        del stated["val"]
    return stated


def _one_list(lists: Sequence[tuple[bool, _Listed]]) -> _Listed:
    """Of VOC's lists all in folders called Main (VOC2007's and VOC2012's), of others the longest."""
    main = [listed for is_main, listed in lists if is_main]
    if not main:
        return max((listed for _, listed in lists), key=lambda listed: len(listed.images) + len(listed.stems))
    return _Listed(
        set[Path]().union(*(listed.images for listed in main)), set[str]().union(*(listed.stems for listed in main))
    )


def _read_list(survey: Survey, path: Path) -> _Listed:
    """Empty for a file that does not list images: less than half of its lines name one."""
    try:
        lines = [line.strip() for line in read_lines(path, "list of images") if line.strip()]
    except UserError:
        return _Listed()
    if not lines or all(_OF_ONE_CLASS.fullmatch(line) for line in lines):
        return _Listed()
    listed, unknown = _Listed(), 0
    annotated = survey.annotation_stems
    for line in lines:
        names = [line, *line.split()[:1]] if " " in line or "\t" in line else [line]  # also pairs of image and xml
        image = next((found for name in names if (found := _image_of(survey, name, path))), None)
        if image:
            listed.images.add(image)
        elif (stem := _stem(names[-1])) in annotated:
            listed.stems.add(stem)
        else:
            unknown += 1
    return listed if 2 * unknown <= len(lines) else _Listed()


def _image_of(survey: Survey, name: str, path: Path) -> Path | None:
    return survey.find(name, path.parent) or survey.of_stem(name, path.parent)


def _stem(name: str) -> str:
    last = last_part(name)
    stem, _, suffix = last.rpartition(".")
    return stem if f".{suffix}" in IMAGE_SUFFIXES | {".xml"} else last
