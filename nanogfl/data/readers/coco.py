"""COCO's json: images, annotations and categories."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nanogfl.data.dataset import DataSet, Problem
from nanogfl.data.readers.classes import Classes
from nanogfl.data.readers.image_folder import ImageFolder
from nanogfl.data.readers.image_sizes import image_sizes
from nanogfl.data.readers.validate import EDGE_TOLERANCE, Box, Objects, finish, refuse_fractions
from nanogfl.data.readers.values import is_number, to_flag, to_hw, to_whole
from nanogfl.errors import UserError
from nanogfl.io.read_file import read_text

_MOST_BYTES = 8_000_000_000
"""per json: LVIS's training set, with its masks, takes 1.1"""
_MANY = 4
"""If x y width height hold corners instead, at least one box in this many reaches outside its image."""
_Annotation = tuple[int, dict[str, Any]]
"""a category and the annotation's whole entry"""


def index_coco(content: dict[str, Any], file: Path, folder: Path, *, strict: bool, classes: Classes) -> DataSet:
    """The data set in the `content` of `file` (`read_annotations`), whose images have names relative to `folder`.

    Listed in `problems`: boxes and images that are left out, images found under a similar name, missing image sizes,
    boxes with a `rotation`. Raises UserError for annotations of unknown images or categories, and as `finish` does.
    """
    return _Index(file, content, classes).build(content, folder, strict)


class _Index:
    """The checks of COCO's layout, with what their sentences name."""

    def __init__(self, file: Path, content: dict[str, Any], classes: Classes) -> None:
        self.file = file
        self.categories = read_categories(content, file)
        self.classes = classes
        self.problems: list[Problem] = []
        self.boxes = self.reaching_out = self.fitting_as_corners = 0
        self.fit_swapped = True  # every box fits its image, or that image with width and height swapped

    def build(self, content: dict[str, Any], folder: Path, strict: bool) -> DataSet:
        images = ImageFolder(folder, self.file)
        entries = {self._whole(entry, "id", "image"): entry for entry in content["images"]}
        if len(entries) != len(content["images"]):
            raise UserError(f"{self.file} has two images with the same id: give each its own")
        by_image: dict[int, list[_Annotation]] = {key: [] for key in entries}
        for annotation in content["annotations"]:
            image_id = self._whole(annotation, "image_id", "annotation")
            if image_id not in by_image:
                raise UserError(
                    f"{self.file}: annotation {annotation.get('id')} names image {image_id}, which is not in it"
                )
            by_image[image_id].append((self._category(annotation), annotation))

        ids = sorted(entries)
        names = [str(self._field(entries[image_id], "file_name", "image")) for image_id in ids]
        paths = images.find(names, self.problems)
        sizes = self._sizes([entries[image_id] for image_id in ids], paths, folder)
        records = []
        for image_id, name, path, hw in zip(ids, names, paths, sizes, strict=True):
            if path is not None and hw is not None:
                objects = Objects(hw, self.problems, measured=_stated_hw(entries[image_id]) is None)
                self._add_objects(name, by_image[image_id], objects)
                records.append(objects.record(image_id, path))
        refuse_fractions(self.file, records)
        self._doubt_corners()
        return finish(self.file, folder, self.classes, records, self.problems, listed=len(entries), strict=strict)

    def _sizes(
        self, entries: Sequence[dict[str, Any]], paths: Sequence[Path | None], folder: Path
    ) -> list[tuple[int, int] | None]:
        """Height and width as stated, or else of the file. None for an image that cannot be read, which is listed."""
        sizes = [_stated_hw(entry) for entry in entries]
        unsized = [(n, path) for n, (path, hw) in enumerate(zip(paths, sizes, strict=True)) if path and hw is None]
        for (number, path), found in zip(unsized, image_sizes([path for _, path in unsized], folder), strict=True):
            if isinstance(found, str):
                self.problems.append(Problem(path.name, f"unreadable image: {found}"))
                continue
            sizes[number] = found
            stated = " x ".join(repr(entries[number].get(side))[:40] for side in ("width", "height"))
            reason = f"image size is not stated, taken from its file: {found[1]} x {found[0]}, not {stated}"
            self.problems.append(Problem(path.name, reason))
        return sizes

    def _add_objects(self, name: str, annotations: Sequence[_Annotation], objects: Objects) -> None:
        for category, annotation in annotations:
            where = f"{name}, annotation {annotation.get('id')}"
            box = self._box(annotation, where, objects)
            label = self.classes.label_of.get(category)
            crowd = to_flag(annotation.get("iscrowd", 0))
            if crowd is None:
                shown = repr(annotation["iscrowd"])[:40]
                self.problems.append(Problem(where, f"bad iscrowd, box left out: 0 or 1 expected, got {shown}"))
            elif box is not None and label is not None:  # None: a category that the evaluated model does not know
                objects.add(box, label, area=annotation.get("area"), crowd=crowd)

    def _category(self, annotation: dict[str, Any]) -> int:
        category = self._whole(annotation, "category_id", "annotation")
        if category not in self.categories:
            raise UserError(
                f"{self.file}: annotation {annotation.get('id')} has the unknown category {category}:"
                f" known are {', '.join(str(i) for i in sorted(self.categories)[:20])}"
            )
        return category

    def _box(self, annotation: dict[str, Any], where: str, objects: Objects) -> Box | None:
        """x1 y1 x2 y2 clipped to the image; None for a box that is listed as a problem."""
        written = self._field(annotation, "bbox", "annotation")
        box = _four_numbers(written)
        if box is not None:
            (x, y, w, h), (height, width) = box, objects.hw
            self.boxes += 1
            reaches_out = max(x + w - width, y + h - height) > EDGE_TOLERANCE
            self.reaching_out += reaches_out
            self.fit_swapped &= not reaches_out or max(x + w - height, y + h - width) <= EDGE_TOLERANCE
            self.fitting_as_corners += x < w <= width + EDGE_TOLERANCE and y < h <= height + EDGE_TOLERANCE
        attributes = annotation.get("attributes")  # CVAT writes the rotation, in degrees, beside the unturned box
        turn = attributes.get("rotation") if isinstance(attributes, dict) else None
        return objects.check(where, box, written, "four finite numbers x y width height", turn)

    def _doubt_corners(self) -> None:
        if not self.fit_swapped and self.fitting_as_corners == self.boxes <= _MANY * self.reaching_out:
            counted = f"{self.reaching_out} of {self.boxes} reach outside their images, and as corners all would fit"
            reason = f"boxes are probably corners x1 y1 x2 y2, where COCO has x y width height: {counted}"
            self.problems.append(Problem(self.file.name, reason))

    def _field(self, entry: Any, key: str, what: str) -> Any:
        if not isinstance(entry, dict) or key not in entry:
            raise UserError(f"{self.file}: {what} {str(entry)[:80]} has no '{key}': COCO's layout is expected")
        return entry[key]

    def _whole(self, entry: Any, key: str, what: str) -> int:
        value = self._field(entry, key, what)
        number = to_whole(value)
        if number is None:
            raise UserError(
                f"{self.file}: {what} {str(entry)[:80]} has {key} {repr(value)[:80]}: a whole number is expected"
            )
        return number


def _stated_hw(entry: dict[str, Any]) -> tuple[int, int] | None:
    return to_hw(entry.get("height"), entry.get("width"))


def _four_numbers(box: Any) -> tuple[float, ...] | None:
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
        return None
    try:
        return tuple(float(value) for value in box)
    except OverflowError:  # whole numbers in JSON may have any number of digits
        return None


def read_annotations(path: Path) -> dict[str, Any]:
    """The file's content. It has the lists images, annotations and categories. Raises UserError."""
    try:
        content = json.loads(read_text(path, "annotations", _MOST_BYTES))
    except (ValueError, RecursionError) as error:  # not JSON, or a number of thousands of digits
        raise UserError(f"annotations {path} are not valid JSON: {error}") from None
    keys = ("images", "annotations", "categories")
    missing = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise UserError(f"{path} is not in COCO's layout: no list '{missing[0]}'")
    return dict(content)


def read_categories(content: dict[str, Any], file: Path) -> dict[int, str]:
    """id -> name, in the order of the file. Raises UserError."""
    categories: dict[int, str] = {}
    for entry in content["categories"]:
        number = to_whole(entry.get("id")) if isinstance(entry, dict) else None
        name = entry.get("name") if isinstance(entry, dict) else None
        if number is None or not (is_number(name) or (isinstance(name, str) and name.strip())):
            raise UserError(f"{file}: category {str(entry)[:200]} needs a whole number 'id' and a 'name'")
        if number in categories:
            raise UserError(f"{file}: two categories have the id {number}")
        categories[number] = str(name)
    if not categories:
        raise UserError(f"{file} lists no categories: at least one is needed")
    return categories
