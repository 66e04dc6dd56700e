"""COCO's json files of a folder, with the habits of the tools that write them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from nanogfl.data.dataset import Problem
from nanogfl.data.folder.candidate import Candidate, CocoImage, part_of_source
from nanogfl.data.folder.masks import box_of_mask
from nanogfl.data.folder.survey import Survey
from nanogfl.data.readers.values import is_number, to_number, to_whole

_BACKGROUND = frozenset({"_background_", "__background__", "background", "__ignore__", "_ignore_"})
"""categories that LabelMe's converters write first"""
_Categories = dict[int, tuple[str, str]]
"""id -> name, supercategory"""


def read_coco_files(survey: Survey, contents: Mapping[Path, dict[str, Any]]) -> Candidate:
    """Entries that cannot be used are problems. Numbers as text are read as numbers, a missing bbox is taken from the
    mask, and a first category that is only a heading is left out."""
    coco = Candidate("coco")
    for path, content in contents.items():
        known = _categories(content, path, coco)
        names = {key: name for key, (name, _) in known.items()}
        used = _read(survey, path, content, names, coco)
        headings = [key for key in names.keys() - used if _is_heading(key, known)]
        coco.headings[path] = {names.pop(key) for key in headings}
        coco.names_of[path] = names
    return coco


def combine_names(coco: Candidate, files: AbstractSet[Path]) -> None:
    """Sets the candidate's `names` from those of the files that are used."""
    classes = [names for path, names in coco.names_of.items() if path in files]
    headings = set[str]().union(*(coco.headings[path] for path in files))
    coco.names = {key: name for known in reversed(classes) for key, name in known.items()}
    if any(coco.names[key] != name for known in classes for key, name in known.items()):
        coco.remarks.append("the json files number their classes differently: classes are matched by name")
        coco.names = _numbered(classes)
    elif len(set(coco.names.values())) < len(coco.names):
        coco.remarks.append("several categories have the same name and are taken as one class")
        coco.names = _numbered(classes)
    elif all(known == coco.names for known in classes) and not headings:
        return
    if headings := headings - set(coco.names.values()):
        coco.remarks.append(f"a category without boxes is left out as a heading: {', '.join(sorted(headings))}")
    coco.changed |= files


def _numbered(classes: Iterable[Mapping[int, str]]) -> dict[int, str]:
    return dict(enumerate(dict.fromkeys(name for known in classes for name in known.values()), start=1))


def _is_heading(key: int, known: _Categories) -> bool:
    """Of a category without annotations: whether it is Roboflow's heading or a converter's background."""
    name, above = known[key]
    return name in _BACKGROUND or (above == "none" and key == 0 and len(known) > 1)


def _categories(content: Mapping[str, Any], path: Path, coco: Candidate) -> _Categories:
    found: _Categories = {}
    for entry in content["categories"]:
        entry = entry if isinstance(entry, dict) else {}
        key, name = _whole(entry.get("id")), entry.get("name")
        if key is None or not (is_number(name) or (isinstance(name, str) and name.strip())) or key in found:
            coco.problems.append(Problem(path.name, f"bad category: {str(entry)[:80]}"))
        else:
            found[key] = str(name), str(entry.get("supercategory"))
    return found


def _read(
    survey: Survey, path: Path, content: Mapping[str, Any], names: Mapping[int, str], coco: Candidate
) -> set[int]:
    """Adds the images of one file. Returns the ids of the categories that have annotations."""
    of_image: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    used: set[int] = set()
    before = len(coco.problems)
    for annotation in content["annotations"]:
        where = (
            f"{path.name}, annotation {str(annotation.get('id') if isinstance(annotation, dict) else annotation)[:40]}"
        )
        if not isinstance(annotation, dict):
            coco.problems.append(
                Problem(where, "bad annotation: an object with image_id, category_id and bbox expected")
            )
            continue
        category = _whole(annotation.get("category_id"))
        if category is None or category not in names:
            reason = f"unknown category, box left out: {str(annotation.get('category_id'))[:40]}"
            coco.problems.append(Problem(where, reason))
            continue
        mended = _with_box(annotation)
        if mended != annotation or type(annotation.get("category_id")) is not int:
            coco.changed.add(path)
        used.add(category)
        of_image[_key(annotation.get("image_id"))].append((names[category], mended))
    part = part_of_source(survey, path)
    first: dict[str, int] = {}
    for entry in content["images"]:
        names_of_image = _image_names(entry)
        if not names_of_image:
            coco.problems.append(Problem(path.name, f"bad image entry: {str(entry)[:80]}"))
            continue
        name = next((name for name in names_of_image if survey.find(name, path.parent, part)), names_of_image[0])
        things = tuple(of_image.pop(_key(entry.get("id")), ()))
        if name in first and first[name] < len(coco.items):  # the same image under two ids
            item = coco.items[first[name]]
            assert isinstance(item.read, CocoImage)
            coco.items[first[name]] = item._replace(read=CocoImage(item.read.entry, item.read.annotations + things))
            coco.problems.append(
                Problem(name, f"image is listed twice: the boxes of both entries are taken ({path.name})")
            )
            continue
        count = len(coco.items)
        coco.add(survey, name, path, CocoImage(entry, things), part)
        if len(coco.items) > count:
            first[name] = count
    for image, boxes in of_image.items():
        reason = f"unknown image, boxes left out: {len(boxes)} boxes name image {image[:40]}"
        coco.problems.append(Problem(path.name, reason))
    if len(coco.problems) > before:
        coco.changed.add(path)
    return used


def _image_names(entry: Any) -> list[str]:
    """LVIS v1 has coco_url alone; file_name in its v0.5 is that of COCO 2014."""
    keys = ("file_name", "coco_url", "path", "name")
    named = [entry.get(key) for key in keys] if isinstance(entry, dict) else []
    return [name for name in named if isinstance(name, str) and name.strip()]


def _with_box(annotation: dict[str, Any]) -> dict[str, Any]:
    """With numbers for text, and with the box of the mask if it states none."""
    box = annotation.get("bbox")
    if box in (None, [], ""):
        found = box_of_mask(annotation.get("segmentation"))
        return {**annotation, "bbox": found if found is not None else []}
    if isinstance(box, list) and any(isinstance(value, str) for value in box):
        numbers = [to_number(value) if isinstance(value, str) else value for value in box]
        return {**annotation, "bbox": numbers}
    return annotation


def _whole(value: Any) -> int | None:
    """A whole number, also written as text."""
    return to_whole(to_number(value)) if isinstance(value, str) else to_whole(value)


def _key(value: Any) -> str:
    """The id of an image, which may be text."""
    number = _whole(value)
    return str(value) if number is None else str(number)
