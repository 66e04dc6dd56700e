"""What the check of a data set reports: findings, each with examples and what to do about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.arrays import DataIndex
from nanogfl.data.dataset import DataSet, ImageRecord

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""error: images or a whole training are lost, or the AP is not what it seems; warning: probably a mistake, or something
that makes a worse detector; note: good to know, nothing to do"""

Item = TypeVar("Item")


class Example(NamedTuple):
    """One place where a finding holds."""

    split: str
    text: str
    """the image's name, and what there is about it; or a class"""
    image: ImageRecord | None = None
    """to draw; None: there is nothing to see"""
    rows: tuple[int, ...] = ()
    """of the image's boxes, those that are meant; none: all of them"""
    beside: ImageRecord | None = None
    """the image that it is like"""

    def __str__(self) -> str:
        return f"{self.split}: {self.text}"


@dataclass(frozen=True)
class Finding:
    severity: Severity
    key: str
    """for scripts, and in file names: lower case and hyphens"""
    what: str
    """what is counted, such as 'boxes drawn twice'"""
    advice: str
    """what to do, or what is done"""
    examples: tuple[Example, ...]
    count: int = -1
    """-1: the examples are all there are"""

    def __post_init__(self) -> None:
        if self.count < 0:
            object.__setattr__(self, "count", len(self.examples))


class Kind(NamedTuple):
    """A finding without its examples."""

    severity: Severity
    key: str
    what: str
    advice: str

    def found(self, examples: Sequence[Example]) -> list[Finding]:
        """The finding, or nothing where there is no example."""
        return [Finding(*self, tuple(examples))] if examples else []


@dataclass(frozen=True)
class Split:
    """One part of a data set: its images as records, and all of their objects as flat arrays."""

    name: str
    """train, val"""
    dataset: DataSet
    index: DataIndex = field(init=False)
    image_of: NDArray[np.int64] = field(init=False)
    """(G,) the image of each of the index's boxes"""

    def __post_init__(self) -> None:
        index = DataIndex.of(self.dataset)
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "image_of", np.repeat(np.arange(len(index)), np.diff(index.start)))

    def boxes_per_class(self) -> NDArray[np.int64]:
        """(C,) without crowd regions."""
        return np.bincount(self.index.labels[~self.index.crowd], minlength=len(self.dataset.classes))

    def at(self, rows: Sequence[int], note: str = "") -> Example:
        """The boxes `rows` of the index, all of one image."""
        owner = int(self.image_of[rows[0]])
        image, first = self.dataset.images[owner], int(self.index.start[owner])
        places = (
            f"{self.dataset.classes[self.index.labels[row]]} at {_corners(self.index.boxes[row])}" for row in rows
        )
        text = f"{image.path.name}, {' and '.join(places)}{note}"
        return Example(self.name, text, image, tuple(row - first for row in rows))


def sample(items: Sequence[Item], most: int) -> list[Item]:
    """Up to `most` of them, spread over all."""
    step = -(-len(items) // most)
    return list(items[:: max(1, step)])


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, and of each kind the most frequent."""
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.count, finding.key))


def _corners(box: NDArray[np.float32]) -> str:
    return " ".join(f"{value:.0f}" for value in box)
