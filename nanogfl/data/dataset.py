"""A data set in memory, whatever its format. No torch: the device evaluates with it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Problem(NamedTuple):
    """Something in a data set that was left out or corrected."""

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
    """(G,) as annotated, in COCO the mask's; AP by size uses them"""
    crowd: NDArray[np.bool_]
    """(G,) neither object nor background: COCO's crowd regions, VOC's difficult objects"""
    reach_hw: tuple[float, float] = field(default=(0.0, 0.0), compare=False)
    """how far down and to the right its boxes reach before they are clipped"""
    measured: bool = field(default=False, compare=False)
    """whether `hw` was read from the image, because the annotations state no size"""


@dataclass(frozen=True)
class Federated:
    """What a federated data set says besides its boxes (LVIS, arXiv:1908.03195).

    A class is verified in an image that holds it or lists it as negative; other classes are unknown in that image."""

    negative: Mapping[int, frozenset[int]]
    """image id -> labels that are verified to be absent"""
    not_exhaustive: Mapping[int, frozenset[int]]
    """image id -> labels of which there may be more objects than boxes"""
    frequency: tuple[str, ...]
    """(C,) rare, common or frequent, as the file says"""


@dataclass(frozen=True)
class DataSet:
    name: str
    """the annotation file"""
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    """the file's id of each class, rising, possibly with gaps"""
    images: tuple[ImageRecord, ...]
    """by id"""
    problems: tuple[Problem, ...]
    federated: Federated | None = None
    """None: every class is verified in every image"""

    def summary(self) -> str:
        """Counts of images, boxes and classes, in one line."""
        boxes = sum(len(image.boxes) for image in self.images)
        crowd = sum(int(image.crowd.sum()) for image in self.images)
        empty = sum(not (~image.crowd).any() for image in self.images)
        return (
            f"{len(self.images)} images, {boxes - crowd} boxes of {len(self.classes)} classes"
            f", {empty} images without objects, {crowd} crowd regions"
        )

    def problem_summary(self) -> str:
        """Counts per kind of problem, in one line."""
        kinds = Counter(problem.reason.split(":")[0] for problem in self.problems)
        return ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common())
