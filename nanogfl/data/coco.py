"""COCO annotations read into one index, checked box by box. No torch: the device evaluates with it, too."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.errors import UserError
from nanogfl.data.federated import Federated

EDGE_TOLERANCE = 1.0
"""pixels that a box may reach outside its image without a word: annotation tools round"""


class Problem(NamedTuple):
    """Something of a data set that was left out or mended."""

    where: str
    reason: str


@dataclass(frozen=True)
class ImageRecord:
    """One image and its objects. Boxes: float32 x1 y1 x2 y2 in its pixels."""

    id: int
    path: Path
    hw: tuple[int, int]
    boxes: NDArray[np.float32]
    """(G, 4)"""
    labels: NDArray[np.int64]
    """(G,) dense: 0 .. C - 1"""
    areas: NDArray[np.float32]
    """(G,) of the object as annotated (its mask's, in COCO): what AP by size goes by"""
    crowd: NDArray[np.bool_]
    """(G,) a region of many objects: neither an object nor background"""


@dataclass(frozen=True)
class DataSet:
    name: str
    """the annotation file"""
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    """the file's id of each class, rising; with gaps or from any number"""
    images: tuple[ImageRecord, ...]
    """in the order of their ids"""
    problems: tuple[Problem, ...]
    federated: Federated | None = None
    """None: every class is verified in every image"""

    def summary(self) -> str:
        boxes = sum(len(image.boxes) for image in self.images)
        crowd = sum(int(image.crowd.sum()) for image in self.images)
        empty = sum(not (~image.crowd).any() for image in self.images)
        return (
            f"{len(self.images)} images, {boxes - crowd} boxes of {len(self.classes)} classes"
            f", {empty} images without objects, {crowd} crowd regions"
        )

    def problem_summary(self) -> str:
        """Counts by kind of reason, for one line; the whole list is `problems`."""
        kinds = Counter(problem.reason.split(":")[0] for problem in self.problems)
        return ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common())


def load_coco(
    annotations: Path | str, images: Path | str, *, strict: bool = False, class_ids: tuple[int, ...] | None = None
) -> DataSet:
    """Reads a COCO json whose file names are relative to the folder `images`.

    Boxes that cannot be used and images that are missing are left out and listed in `problems`; with `strict`
    the first is a UserError. An annotation of an unknown image or category is always one. `class_ids`: the
    category ids of the model that is evaluated, which decide the classes and their order.
    """
    annotations = Path(annotations)
    return index_content(read_annotations(annotations), annotations, Path(images), strict=strict, class_ids=class_ids)


def index_content(
    content: dict[str, Any], annotations: Path, images: Path, *, strict: bool, class_ids: tuple[int, ...] | None
) -> DataSet:
    """`load_coco` of a content that was read. Raises UserError."""
    categories = read_categories(content, annotations)
    ids = tuple(sorted(categories)) if class_ids is None else class_ids
    unknown = [i for i in ids if i not in categories]
    if unknown:
        raise UserError(
            f"{annotations} has no category with id {unknown[0]}, which the model was trained on: its categories are"
            f" {', '.join(f'{i} {categories[i]}' for i in sorted(categories)[:10])}"
        )
    return _Index(annotations, images, categories, ids).build(content, strict)


def refuse_problems(file: Path, problems: Sequence[Problem]) -> None:
    """Raises UserError where there is any: what `strict` asks for."""
    if problems:
        first = problems[0]
        raise UserError(
            f"{file}: {first.where}: {first.reason} (and {len(problems) - 1} more problems);"
            " mend them, or leave --strict out to train without them"
        )


class _Index:
    """The checks, with what their sentences name."""

    def __init__(self, file: Path, folder: Path, categories: dict[int, str], ids: tuple[int, ...]) -> None:
        self.file, self.folder = file, folder
        self.categories = categories
        self.ids = ids
        self.dense = {category: label for label, category in enumerate(ids)}
        self.problems: list[Problem] = []

    def build(self, content: dict[str, Any], strict: bool) -> DataSet:
        if not self.folder.is_dir():
            raise UserError(f"image folder {self.folder} does not exist: check data.root and the split's images")
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

        listing = {path.name for path in self.folder.iterdir()}
        records = []
        for image_id in sorted(entries):
            record = self._record(entries[image_id], by_image[image_id], listing)
            if record is not None:
                records.append(record)
        if strict:
            refuse_problems(self.file, self.problems)
        if not records:
            raise UserError(f"{self.file} has no usable image in {self.folder}: {len(entries)} are listed there")
        classes = tuple(self.categories[i] for i in self.ids)
        return DataSet(str(self.file), classes, self.ids, tuple(records), tuple(self.problems))

    def _record(
        self, entry: dict[str, Any], annotations: list[dict[str, Any]], listing: set[str]
    ) -> ImageRecord | None:
        name = str(self._field(entry, "file_name", "image"))
        width, height = (self._field(entry, side, "image") for side in ("width", "height"))
        if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
            raise UserError(
                f"{self.file}: image {name} has width {width!r} and height {height!r}: whole numbers expected"
            )
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise UserError(f"{self.file}: image {name} lies outside of {self.folder}: use names relative to it")
        if name not in listing and not path.is_file():
            self.problems.append(Problem(name, "image is missing: no such file in the folder"))
            return None
        boxes, labels, areas, crowd = [], [], [], []
        for annotation in annotations:
            box = self._box(annotation, name, width, height)
            if box is None:
                continue
            label = self.dense.get(annotation["category_id"])
            if label is None:  # a category that the evaluated model does not know
                continue
            boxes.append(box)
            labels.append(label)
            areas.append(_area(annotation) or (box[2] - box[0]) * (box[3] - box[1]))
            crowd.append(bool(annotation.get("iscrowd", 0)))
        return ImageRecord(
            entry["id"],
            path,
            (height, width),
            np.array(boxes, dtype=np.float32).reshape(-1, 4),
            np.array(labels, dtype=np.int64),
            np.array(areas, dtype=np.float32),
            np.array(crowd, dtype=np.bool_),
        )

    def _box(
        self, annotation: dict[str, Any], name: str, width: int, height: int
    ) -> tuple[float, float, float, float] | None:
        """x1 y1 x2 y2 clipped to the image, or None for one that is listed as a problem."""
        category = self._whole(annotation, "category_id", "annotation")
        where = f"{name}, annotation {annotation.get('id')}"
        if category not in self.categories:
            raise UserError(
                f"{self.file}: {where} has the unknown category {category!r}:"
                f" known are {', '.join(str(i) for i in sorted(self.categories)[:20])}"
            )
        box = self._field(annotation, "bbox", "annotation")
        numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box)
        if not numbers or not all(math.isfinite(v) for v in box):
            self.problems.append(Problem(where, f"bad box: four finite numbers x y width height expected, got {box}"))
            return None
        x, y, w, h = (float(v) for v in box)
        if w <= 0 or h <= 0:
            self.problems.append(Problem(where, f"empty box: width {w:g}, height {h:g}"))
            return None
        x1, y1, x2, y2 = max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))
        if x2 <= x1 or y2 <= y1:
            self.problems.append(Problem(where, f"box outside its image: {box} in {width} x {height}"))
            return None
        if max(-x, -y, x + w - width, y + h - height) > EDGE_TOLERANCE:
            self.problems.append(Problem(where, f"box reaches outside its image, clipped: {box} in {width} x {height}"))
        return x1, y1, x2, y2

    def _field(self, entry: Any, key: str, what: str) -> Any:
        if not isinstance(entry, dict) or key not in entry:
            raise UserError(f"{self.file}: {what} {str(entry)[:80]} has no '{key}': COCO's layout is expected")
        return entry[key]

    def _whole(self, entry: Any, key: str, what: str) -> int:
        value = self._field(entry, key, what)
        if not isinstance(value, int):
            raise UserError(f"{self.file}: {what} {str(entry)[:80]} has {key} {value!r}: a whole number is expected")
        return value


def _area(annotation: dict[str, Any]) -> float:
    """As annotated, or 0 where it is missing or no size."""
    area = annotation.get("area")
    return float(area) if isinstance(area, int | float) and math.isfinite(area) and area > 0 else 0.0


def read_annotations(path: Path) -> dict[str, Any]:
    """The file's content; its lists images, annotations and categories are there. Raises UserError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"annotations {path} do not exist: check data.root and the split's annotations") from None
    except OSError as error:
        raise UserError(f"annotations {path} cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
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
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int) or "name" not in entry:
            raise UserError(f"{file}: category {entry} needs a whole number 'id' and a 'name'")
        if entry["id"] in categories:
            raise UserError(f"{file}: two categories have the id {entry['id']}")
        categories[entry["id"]] = str(entry["name"])
    if not categories:
        raise UserError(f"{file} lists no categories: at least one is needed")
    return categories
