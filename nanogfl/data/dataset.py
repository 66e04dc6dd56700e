"""A data set in memory, whichever files it came from. No torch: the device evaluates with it, too."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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
    """(G,) neither an object nor background: COCO's region of many objects, VOC's object that is difficult"""
    reach_hw: tuple[float, float] = field(default=(0.0, 0.0), compare=False)
    """how far down and to the right its boxes reach as they were written, before they were clipped"""
    measured: bool = field(default=False, compare=False)
    """whether `hw` was read from the file, because the annotations state no size"""


@dataclass(frozen=True)
class Federated:
    """What a federated data set says beyond its boxes (LVIS, arXiv:1908.03195).

    A class is verified in an image that holds it or lists it as negative; of other classes an image says nothing."""

    negative: Mapping[int, frozenset[int]]
    """image id -> labels that were looked for and are not there"""
    not_exhaustive: Mapping[int, frozenset[int]]
    """image id -> labels of which there may be more objects than boxes"""
    frequency: tuple[str, ...]
    """(C,) rare, common or frequent: as the file says, not as anything counts"""


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
