"""LVIS's json, v0.5 and v1: COCO's layout with federated annotations (arXiv:1908.03195)."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from nanogfl.data.dataset import DataSet, Federated, Problem
from nanogfl.data.readers.classes import Classes
from nanogfl.data.readers.coco import index_coco, read_categories
from nanogfl.data.readers.image_folder import ImageFolder
from nanogfl.data.readers.validate import refuse_problems
from nanogfl.data.readers.values import to_whole
from nanogfl.errors import UserError

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}
_NEGATIVE, _NOT_EXHAUSTIVE = "neg_category_ids", "not_exhaustive_category_ids"


def is_lvis(content: dict[str, Any]) -> bool:
    """Whether the content of a json is LVIS's: its images list categories that they do not hold."""
    return any(isinstance(entry, dict) and _NEGATIVE in entry for entry in content["images"])


def index_lvis(content: dict[str, Any], annotations: Path, images: Path, *, strict: bool, classes: Classes) -> DataSet:
    """The data set in the `content` of an LVIS json: as `index_coco`, and federated.

    An image lies below `images` by its file_name, or by the end of its coco_url, with the folder (val2017/1.jpg) or
    without. A category that an image both holds and calls negative counts as held, and is listed in `problems`. Raises
    UserError as `index_coco` does, for crowd regions, and for missing or unknown categories.
    """
    folder = ImageFolder(images, annotations)
    named = {**content, "images": [_named(entry, annotations, folder) for entry in content["images"]]}
    dataset = index_coco(named, annotations, images, strict=strict, classes=classes)
    for image in dataset.images:
        if image.crowd.any():
            raise UserError(
                f"{annotations}: image {image.id} has a crowd region, which LVIS does not know: leave it out and name"
                f" its category in the image's {_NOT_EXHAUSTIVE}"
            )
    federated, problems = _federated(content, annotations, classes)
    if strict:
        refuse_problems(annotations, problems)
    return replace(dataset, federated=federated, problems=(*dataset.problems, *problems))


def _named(entry: Any, file: Path, folder: ImageFolder) -> Any:
    """The image's entry with the file_name by which it is found in the folder; with its first name if by none."""
    if not isinstance(entry, dict):
        return entry
    names = list(_names(entry))
    if not names:
        raise UserError(
            f"{file}: image {entry.get('id')} has neither 'file_name' nor 'coco_url': LVIS's layout is expected"
        )
    return {**entry, "file_name": next((name for name in names if folder.there(name)), names[0])}


def _names(entry: dict[str, Any]) -> Iterator[str]:
    # v0.5: file_name is COCO 2014's (COCO_val2014_000000000009.jpg), coco_url is that of 2017
    if "file_name" in entry:
        yield str(entry["file_name"])
    if isinstance(entry.get("coco_url"), str):
        parts: list[str] = entry["coco_url"].split("/")
        yield "/".join(parts[-2:])
        yield parts[-1]


def _federated(content: dict[str, Any], file: Path, classes: Classes) -> tuple[Federated, list[Problem]]:
    """`index_coco` has checked the images and annotations."""
    known = read_categories(content, file)
    label_of = classes.label_of
    held: defaultdict[int, set[int]] = defaultdict(set)
    for annotation in content["annotations"]:
        held[annotation["image_id"]].add(annotation["category_id"])
    negative, not_exhaustive, problems = {}, {}, []
    for entry in content["images"]:
        number = entry["id"]
        absent = _categories(entry, _NEGATIVE, known, file)
        for category in sorted(absent & held[number]):
            reason = f"category both negative and annotated, taken as annotated: {category} {known[category]}"
            problems.append(Problem(f"image {number}", reason))
        open_ended = _categories(entry, _NOT_EXHAUSTIVE, known, file)
        negative[number] = frozenset(label_of[i] for i in absent - held[number] if i in label_of)
        not_exhaustive[number] = frozenset(label_of[i] for i in open_ended if i in label_of)
    groups = _frequencies(content, file)
    frequency = tuple(groups[i] for i in sorted(label_of, key=label_of.__getitem__))
    return Federated(negative, not_exhaustive, frequency), problems


def _categories(entry: dict[str, Any], key: str, known: dict[int, str], file: Path) -> set[int]:
    ids = entry.get(key)
    numbers = [to_whole(i) for i in ids] if isinstance(ids, list) else [None]
    if None in numbers:
        raise UserError(
            f"{file}: image {entry['id']} has {key} {str(ids)[:80]}: LVIS needs a list of category ids for each image"
        )
    found = {number for number in numbers if number is not None}
    unknown = sorted(found - known.keys())
    if unknown:
        raise UserError(
            f"{file}: image {entry['id']} has the unknown category {unknown[0]} among its {key}:"
            f" known are {', '.join(str(i) for i in sorted(known)[:20])}"
        )
    return found


def _frequencies(content: dict[str, Any], file: Path) -> dict[int, str]:
    """category id -> rare, common or frequent."""
    for entry in content["categories"]:
        if entry.get("frequency") not in tuple(FREQUENCIES):
            raise UserError(
                f"{file}: category {entry['id']} {entry['name']} has frequency {entry.get('frequency')!r}:"
                " LVIS needs 'r', 'c' or 'f' (rare, common or frequent)"
            )
    return {entry["id"]: FREQUENCIES[entry["frequency"]] for entry in content["categories"]}
