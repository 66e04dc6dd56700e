"""The checks that all readers share: boxes, objects per image, and whether a data set is usable."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nanogfl.data.dataset import DataSet, ImageRecord, Problem
from nanogfl.data.readers.classes import Classes
from nanogfl.data.readers.values import is_number
from nanogfl.errors import UserError

EDGE_TOLERANCE = 1.0
"""pixels by which a box may reach outside its image unreported: annotation tools round"""
_UPRIGHT = 0.01
"""degrees by which a box may be turned unreported: angles in radians are rounded"""
_MOST_BOXES = 20_000
"""per image: training compares each with every grid point, and 10^6 of them would take 8 GB"""
_LARGEST_AREA = float(np.finfo(np.float32).max)

Box = tuple[float, float, float, float]


class Objects:
    """Collects the objects of one image of height and width `hw`; those that cannot be used go to `problems`.

    `measured`: hw was read from the image, because the annotations state no size.
    """

    def __init__(self, hw: tuple[int, int], problems: list[Problem], *, measured: bool = False) -> None:
        self.hw, self.problems, self.measured = hw, problems, measured
        self.reach_hw = 0.0, 0.0
        self.boxes: list[Box] = []
        self.labels: list[int] = []
        self.areas: list[float] = []
        self.crowd: list[bool] = []

    def check(
        self, where: str, box: Sequence[float] | None, written: object, layout: str, turn: object = None
    ) -> Box | None:
        """x y width height in pixels -> x1 y1 x2 y2 clipped to the image; None for a box that is listed as a problem.

        box: None if it is not written as four numbers.
        written, layout: the box as it is written and the expected layout, for the sentences.
        turn: a rotation in degrees about the box's centre. The upright hull is taken, and listed.
        """

        def listed(reason: str) -> Box | None:
            self.problems.append(Problem(where, reason))
            return None

        if box is None or not all(map(math.isfinite, box)):
            return listed(f"bad box: {layout} expected, got {written}")
        x, y, w, h = box
        if w <= 0 or h <= 0:
            return listed(f"empty box: width {w:g}, height {h:g}")
        if turn is not None:
            (x, y, w, h), reason = _upright((x, y, w, h), turn)
            if reason:
                listed(reason)
        self.reach_hw = max(self.reach_hw[0], y + h), max(self.reach_hw[1], x + w)
        height, width = self.hw
        x1, y1, x2, y2 = max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))
        if x2 <= x1 or y2 <= y1:
            return listed(f"box outside its image: {written} in {width} x {height}")
        if np.float32(x2) <= np.float32(x1) or np.float32(y2) <= np.float32(y1):  # boxes are kept in float32
            return listed(f"empty box: width {x2 - x1:g}, height {y2 - y1:g}")
        if max(-x, -y, x + w - width, y + h - height) > EDGE_TOLERANCE:
            listed(f"box reaches outside its image, clipped: {written} in {width} x {height}")
        return x1, y1, x2, y2

    def add(self, box: Box, label: int, *, area: object = None, crowd: bool) -> None:
        """Adds a checked box. `area`: as annotated; the box's area if it is missing or not a positive number."""
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


def _upright(box: Box, turn: object) -> tuple[Box, str]:
    """The upright box around one that is turned, and what is to be listed."""
    x, y, w, h = box
    try:
        degrees = math.nan if isinstance(turn, bool) else float(turn)  # type: ignore[arg-type]
        cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    except (TypeError, ValueError, OverflowError):  # not a number, infinite, hundreds of digits
        degrees = cos = sin = math.nan
    width, height = w * cos + h * sin, w * sin + h * cos
    hull = x + (w - width) / 2, y + (h - height) / 2, width, height
    if not all(map(math.isfinite, hull)):
        return box, f"rotation is not understood, box taken as upright: {repr(turn)[:40]}"
    if abs(math.remainder(degrees, 180)) < _UPRIGHT:
        return box, ""
    return hull, f"rotated box, its upright hull is taken: turned by {degrees:g} degrees"


def refuse_fractions(file: Path, records: Sequence[ImageRecord]) -> None:
    """Raises UserError if every box lies within the first pixel of its image."""
    boxes = [record.boxes for record in records if len(record.boxes)]
    if boxes and max(float(of_image.max()) for of_image in boxes) <= 1:
        raise UserError(
            f"{file}: all {sum(map(len, boxes))} boxes lie within 0 .. 1, so they are fractions of the image, and"
            " pixels are expected: multiply them by its width and height"
        )


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
    """The data set; the notes on its classes go to its problems, and are never errors.

    Raises UserError for the first problem if `strict`, and if none of the `listed` images can be used.
    """
    if strict:
        refuse_problems(file, problems)
    if not records:
        first_problem = f" ({problems[0].where}: {problems[0].reason})" if problems else ""
        raise UserError(f"{file} has no usable image in {folder}: {listed} are listed there{first_problem}")
    return DataSet(str(file), classes.names, classes.ids, tuple(records), (*classes.notes, *problems))


def refuse_problems(file: Path, problems: Sequence[Problem]) -> None:
    """Raises UserError for the first one."""
    if problems:
        where, reason = problems[0]
        raise UserError(
            f"{file}: {where}: {reason} (and {len(problems) - 1} more problems); correct them, or leave --strict out to"
            " train without them"
        )
