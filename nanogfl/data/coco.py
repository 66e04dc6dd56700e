"""COCO annotations read into one index, checked box by box. No torch: the device evaluates with it, too."""

import json
from pathlib import Path
from typing import Any

from nanogfl.contract.errors import UserError
from nanogfl.contract.read_file import read_text
from nanogfl.data.checks import EDGE_TOLERANCE, Classes, ImageFolder, Objects, choose_classes, finish
from nanogfl.data.index import DataSet, ImageRecord, Problem

__all__ = [
    "EDGE_TOLERANCE",
    "DataSet",
    "ImageRecord",
    "Problem",
    "index_coco",
    "load_coco",
    "read_annotations",
    "read_categories",
]

_LARGEST_SIDE = 1 << 20
"""pixels: OpenCV decodes no larger image"""
_LARGEST_ID = (1 << 63) - 1
"""pycocotools and numpy count in 64 bits"""
_MOST_BYTES = 8_000_000_000
"""of a json: LVIS's training set, with its masks, takes 1.1"""


def load_coco(
    annotations: Path | str,
    images: Path | str,
    *,
    strict: bool = False,
    class_ids: tuple[int, ...] | None = None,
    class_names: tuple[str, ...] | None = None,
) -> DataSet:
    """Reads a COCO json whose file names are relative to the folder `images`.

    Boxes that cannot be used and images that are missing are left out and listed in `problems`; with `strict`
    the first is a UserError. An annotation of an unknown image or category is always one. `class_ids` and
    `class_names` of the model that is evaluated decide the classes and their order (`choose_classes`).
    """
    annotations = Path(annotations)
    content = read_annotations(annotations)
    classes = choose_classes(annotations, read_categories(content, annotations), class_ids, class_names)
    return index_coco(content, annotations, Path(images), strict=strict, classes=classes)


def index_coco(content: dict[str, Any], file: Path, folder: Path, *, strict: bool, classes: Classes) -> DataSet:
    """The same for what `read_annotations` read from `file`, and the `classes` chosen of it."""
    return _Index(file, content, classes).build(content, folder, strict)


class _Index:
    """The checks of COCO's layout, with what their sentences name."""

    def __init__(self, file: Path, content: dict[str, Any], classes: Classes) -> None:
        self.file = file
        self.categories = read_categories(content, file)
        self.classes = classes
        self.problems: list[Problem] = []

    def build(self, content: dict[str, Any], folder: Path, strict: bool) -> DataSet:
        images = ImageFolder(folder, self.file)
        entries = {self._whole(entry, "id", "image"): entry for entry in content["images"]}
        if len(entries) != len(content["images"]):
            raise UserError(f"{self.file} has two images with the same id: give each its own")
        by_image: dict[int, list[dict[str, Any]]] = {key: [] for key in entries}
        for annotation in content["annotations"]:
            image_id = self._whole(annotation, "image_id", "annotation")
            if image_id not in by_image:
                raise UserError(
                    f"{self.file}: annotation {annotation.get('id')} names image {image_id}, which is not in it"
                )
            by_image[image_id].append(annotation)

        found = [self._record(entries[image_id], by_image[image_id], images) for image_id in sorted(entries)]
        records = [record for record in found if record is not None]
        return finish(self.file, folder, self.classes, records, self.problems, listed=len(entries), strict=strict)

    def _record(
        self, entry: dict[str, Any], annotations: list[dict[str, Any]], images: ImageFolder
    ) -> ImageRecord | None:
        name = str(self._field(entry, "file_name", "image"))
        width, height = (self._field(entry, side, "image") for side in ("width", "height"))
        if not all(isinstance(side, int) and 0 < side < _LARGEST_SIDE for side in (width, height)):
            raise UserError(
                f"{self.file}: image {name} has width {width!r} and height {height!r}: whole numbers expected"
            )
        path = images.path(name)
        if not images.has(name):
            self.problems.append(Problem(name, "image is missing: no such file in the folder"))
            return None
        objects = Objects((height, width), self.problems)
        for annotation in annotations:
            box = self._box(annotation, name, objects)
            label = self.classes.label_of.get(annotation["category_id"])
            if box is not None and label is not None:  # None: a category that the evaluated model does not know
                objects.add(box, label, area=annotation.get("area"), crowd=bool(annotation.get("iscrowd", 0)))
        return objects.record(entry["id"], path)

    def _box(self, annotation: dict[str, Any], name: str, objects: Objects) -> tuple[float, float, float, float] | None:
        """x1 y1 x2 y2 clipped to the image, or None for one that is listed as a problem."""
        category = self._whole(annotation, "category_id", "annotation")
        where = f"{name}, annotation {annotation.get('id')}"
        if category not in self.categories:
            raise UserError(
                f"{self.file}: {where} has the unknown category {category!r}:"
                f" known are {', '.join(str(i) for i in sorted(self.categories)[:20])}"
            )
        box = self._field(annotation, "bbox", "annotation")
        return objects.check(where, _four_numbers(box), box, "four finite numbers x y width height")

    def _field(self, entry: Any, key: str, what: str) -> Any:
        if not isinstance(entry, dict) or key not in entry:
            raise UserError(f"{self.file}: {what} {str(entry)[:80]} has no '{key}': COCO's layout is expected")
        return entry[key]

    def _whole(self, entry: Any, key: str, what: str) -> int:
        value = self._field(entry, key, what)
        if not isinstance(value, int) or abs(value) > _LARGEST_ID:
            raise UserError(
                f"{self.file}: {what} {str(entry)[:80]} has {key} {repr(value)[:80]}: a whole number is expected"
            )
        return value


def _four_numbers(box: Any) -> tuple[float, ...] | None:
    if not (isinstance(box, list) and len(box) == 4 and all(isinstance(value, int | float) for value in box)):
        return None
    try:
        return tuple(float(value) for value in box)
    except OverflowError:  # JSON's whole numbers have no end
        return None


def read_annotations(path: Path) -> dict[str, Any]:
    """The file's content; its lists images, annotations and categories are there. Raises UserError."""
    try:
        content = json.loads(read_text(path, "annotations", _MOST_BYTES))
    except (ValueError, RecursionError) as error:  # not JSON, a number of thousands of digits
        raise UserError(f"annotations {path} are not valid JSON: {error}") from None
    keys = ("images", "annotations", "categories")
    missing = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise UserError(f"{path} is not in COCO's layout: no list '{missing[0]}'")
    return dict(content)


def read_categories(content: dict[str, Any], file: Path) -> dict[int, str]:
    """id -> name. Raises UserError."""
    categories: dict[int, str] = {}
    for entry in content["categories"]:
        number = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(number, int) or abs(number) > _LARGEST_ID or "name" not in entry:
            raise UserError(f"{file}: category {str(entry)[:200]} needs a whole number 'id' and a 'name'")
        if number in categories:
            raise UserError(f"{file}: two categories have the id {number}")
        categories[number] = str(entry["name"])
    if not categories:
        raise UserError(f"{file} lists no categories: at least one is needed")
    return categories
