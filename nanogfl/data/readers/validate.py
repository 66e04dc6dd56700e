"""What every reader of annotations checks in the same way: boxes, image names, classes, and what is left in the end."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nanogfl.contract.detections import MOST_CLASSES
from nanogfl.data.dataset import DataSet, ImageRecord, Problem
from nanogfl.data.readers.values import is_number
from nanogfl.errors import UserError

EDGE_TOLERANCE = 1.0
"""pixels that a box may reach outside its image without a word: annotation tools round"""
_UPRIGHT = 0.01
"""degrees by which a box may be turned without a word: angles in radians are rounded"""
_MOST_BOXES = 20_000
"""of an image: training compares each with every grid point, and 10^6 of them would take 8 GB"""
_LARGEST_AREA = float(np.finfo(np.float32).max)


class Objects:
    """The objects of one image of height and width `hw`; those that cannot be used go to `problems`.

    `measured`: hw was read from the file, because the annotations state no size.
    """

    def __init__(self, hw: tuple[int, int], problems: list[Problem], *, measured: bool = False) -> None:
        self.hw, self.problems, self.measured = hw, problems, measured
        self.reach_hw = 0.0, 0.0
        self.boxes: list[tuple[float, float, float, float]] = []
        self.labels: list[int] = []
        self.areas: list[float] = []
        self.crowd: list[bool] = []

    def check(
        self, where: str, box: Sequence[float] | None, written: object, layout: str, turn: object = None
    ) -> tuple[float, float, float, float] | None:
        """x y width height in pixels -> x1 y1 x2 y2 clipped to the image, or None for one that is listed as a problem.

        A box that has no four numbers comes as None. The sentences show it as it was `written`, and the `layout` that
        was expected. Of a box with a `turn`, in degrees, the upright hull is taken, which is listed.
        """
        if box is None or not all(math.isfinite(value) for value in box):
            self._list(where, f"bad box: {layout} expected, got {written}")
            return None
        x, y, w, h = box
        if w <= 0 or h <= 0:
            self._list(where, f"empty box: width {w:g}, height {h:g}")
            return None
        if turn is not None:
            x, y, w, h = self._upright(where, (x, y, w, h), turn)
        self.reach_hw = max(self.reach_hw[0], y + h), max(self.reach_hw[1], x + w)
        height, width = self.hw
        x1, y1, x2, y2 = max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))
        if x2 <= x1 or y2 <= y1:
            self._list(where, f"box outside its image: {written} in {width} x {height}")
            return None
        if np.float32(x2) <= np.float32(x1) or np.float32(y2) <= np.float32(y1):  # kept as such
            self._list(where, f"empty box: width {x2 - x1:g}, height {y2 - y1:g}")
            return None
        if max(-x, -y, x + w - width, y + h - height) > EDGE_TOLERANCE:
            self._list(where, f"box reaches outside its image, clipped: {written} in {width} x {height}")
        return x1, y1, x2, y2

    def add(self, box: tuple[float, float, float, float], label: int, *, area: object = None, crowd: bool) -> None:
        """A checked box. `area` as annotated; the box's where it is missing or no size."""
        size = area if is_number(area) and 0 < area <= _LARGEST_AREA else (box[2] - box[0]) * (box[3] - box[1])
        self.boxes.append(box)
        self.labels.append(label)
        self.areas.append(float(size))
        self.crowd.append(crowd)

    def record(self, number: int, path: Path) -> ImageRecord:
        """Raises UserError for more boxes than an image can have."""
        if len(self.boxes) > _MOST_BOXES:
            raise UserError(
                f"image {path} has {len(self.boxes):,} boxes, and at most {_MOST_BOXES:,} are read: check that these"
                " are not the annotations of many images"
            )
        return ImageRecord(
            number,
            path,
            self.hw,
            np.array(self.boxes, dtype=np.float32).reshape(-1, 4),
            np.array(self.labels, dtype=np.int64),
            np.array(self.areas, dtype=np.float32),
            np.array(self.crowd, dtype=np.bool_),
            self.reach_hw,
            self.measured,
        )

    def _upright(self, where: str, box: tuple[float, float, float, float], turn: object) -> tuple[float, ...]:
        try:
            degrees = math.nan if isinstance(turn, bool) else float(turn)  # type: ignore[arg-type]
            hull = upright_hull(box, degrees)
        except (TypeError, ValueError, OverflowError):  # no number, an infinite one, one of hundreds of digits
            hull = (math.nan,) * 4
        if not all(map(math.isfinite, hull)):
            self._list(where, f"rotation is not understood, box taken as upright: {repr(turn)[:40]}")
            return box
        if abs(math.remainder(degrees, 180)) < _UPRIGHT:
            return box
        self._list(where, f"rotated box, its upright hull is taken: turned by {degrees:g} degrees")
        return hull

    def _list(self, where: str, reason: str) -> None:
        self.problems.append(Problem(where, reason))


def upright_hull(box: Sequence[float], degrees: float) -> tuple[float, float, float, float]:
    """x y width height of the upright box around the one that is turned about its centre."""
    x, y, w, h = box
    across, along = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    width, height = w * across + h * along, w * along + h * across
    return x + (w - width) / 2, y + (h - height) / 2, width, height


def refuse_fractions(file: Path, records: Sequence[ImageRecord]) -> None:
    """Raises UserError where every box lies within the first pixel of its image."""
    boxes = [record.boxes for record in records if len(record.boxes)]
    if boxes and max(float(of_image.max()) for of_image in boxes) <= 1:
        raise UserError(
            f"{file}: all {sum(map(len, boxes))} boxes lie within 0 .. 1, so they are fractions of the image, and"
            " pixels are expected: multiply them by its width and height"
        )


class Classes(NamedTuple):
    names: tuple[str, ...]
    ids: tuple[int, ...]
    label_of: Mapping[int, int]
    """the file's own number of a class -> dense label; what is not there, the model does not know"""
    notes: tuple[Problem, ...] = ()
    """what differs between the file's classes and the model's, and was dealt with"""


def choose_classes(
    file: Path,
    categories: Mapping[int, str],
    class_ids: tuple[int, ...] | None,
    class_names: tuple[str, ...] | None = None,
    *,
    numbered: bool = True,
) -> Classes:
    """Those of the file in the order of their numbers, or those of a model, which are found by their names.

    The rule, for every format and command: a class of the model is the file's class of the same name, letter by
    letter (case and spaces count). The numbers only decide between several classes of one name. Where the file has
    numbers of its own (`numbered`) and they differ from the model's, and where it has classes that the model does not
    know, `notes` say so. A name that the file lacks is a UserError. With `class_ids` alone they are found by them.
    """
    if class_ids is not None and class_names is not None:
        return _by_name(file, categories, class_ids, class_names, numbered)
    if len(categories) > MOST_CLASSES:
        raise UserError(
            f"{file} has {len(categories):,} classes, and at most {MOST_CLASSES:,} are read: check that the names are"
            " those of classes"
        )
    ids = tuple(sorted(categories)) if class_ids is None else class_ids
    unknown = [i for i in ids if i not in categories]
    if unknown:
        raise UserError(
            f"{file} has no category with id {unknown[0]}, which the model was trained on: its categories are"
            f" {', '.join(f'{i} {categories[i]}' for i in sorted(categories)[:10])}"
        )
    return Classes(tuple(categories[i] for i in ids), ids, {number: label for label, number in enumerate(ids)})


def _by_name(
    file: Path, categories: Mapping[int, str], ids: tuple[int, ...], names: tuple[str, ...], numbered: bool
) -> Classes:
    numbers_of: dict[str, list[int]] = {}
    for number, name in categories.items():
        numbers_of.setdefault(name, []).append(number)
    label_of: dict[int, int] = {}
    moved = []
    for label, (own, name) in enumerate(zip(ids, names, strict=True)):
        numbers = numbers_of.get(name, [])
        number = own if own in numbers or len(numbers) != 1 else numbers[0]
        if number in label_of or categories.get(number) != name:
            raise _other_classes(file, categories, names, name)
        label_of[number] = label
        if number != own:
            moved.append(f"{name} is {number} here, {own} in the model")
    notes = []
    if moved and numbered:
        notes.append(Problem("classes", f"matched by name, their ids differ: {_few(moved)}"))
    unknown = [name for number, name in categories.items() if number not in label_of]
    if unknown:
        notes.append(Problem("classes", f"unknown to the model, their boxes are left out: {_few(unknown)}"))
    return Classes(names, ids, label_of, tuple(notes))


def _other_classes(file: Path, categories: Mapping[int, str], names: tuple[str, ...], name: str) -> UserError:
    if (count := list(categories.values()).count(name)) > 0:
        return UserError(
            f"{file} has {count} and the model {names.count(name)} classes named '{name}', and their ids do not tell"
            " which is which: give each class its own name"
        )
    alike = [other for other in categories.values() if _folded(other) == _folded(name)]
    hint = f" ('{alike[0]}' differs in case or spaces)" if alike else ""
    return UserError(
        f"{file} has no class '{name}', which the model was trained on: its classes are {_few(categories.values())},"
        f" the model's are {_few(names)}{hint}; rename them in {file.name} where they mean the same, or take the data"
        " set of these classes"
    )


def _folded(name: str) -> str:
    return "".join(name.casefold().split())


def _few(items: Iterable[str], most: int = 10) -> str:
    """a, b, c and 7 more"""
    every = list(items)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def finish(
    file: Path,
    folder: Path,
    classes: Classes,
    records: Sequence[ImageRecord],
    problems: Sequence[Problem],
    *,
    listed: int,
    strict: bool,
) -> DataSet:
    """Raises UserError for the first problem with `strict`, and where none of the images `listed` can be used. What
    the classes' `notes` say is listed, but is no error."""
    if strict:
        refuse_problems(file, problems)
    if not records:
        first_problem = f" ({problems[0].where}: {problems[0].reason})" if problems else ""
        raise UserError(f"{file} has no usable image in {folder}: {listed} are listed there{first_problem}")
    return DataSet(str(file), classes.names, classes.ids, tuple(records), (*classes.notes, *problems))


def refuse_problems(file: Path, problems: Sequence[Problem]) -> None:
    """Raises UserError for the first one."""
    if problems:
        first = problems[0]
        raise UserError(
            f"{file}: {first.where}: {first.reason} (and {len(problems) - 1} more problems);"
            " mend them, or leave --strict out to train without them"
        )
