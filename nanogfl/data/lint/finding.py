"""Findings: what a check of a data set reports, with examples and what to do about each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.arrays import DataIndex
from nanogfl.data.class_counts import boxes_per_class
from nanogfl.data.dataset import DataSet, ImageRecord

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""error: images or the whole training are lost, or the AP is not what it seems; warning: probably a mistake, or it
makes the detector worse; note: good to know, nothing to do: all notes together are one line of the table"""
SHOWN = 24
"""examples that are kept of a finding that may hold for every box"""

Item = TypeVar("Item")


class Example(NamedTuple):
    """One place where a finding holds."""

    split: str
    text: str
    """the name of an image or class, and what there is to say of it"""
    image: ImageRecord | None = None
    """the image to draw"""
    rows: tuple[int, ...] = ()
    """of the image's boxes, those that the finding is about; none: all of them"""
    beside: ImageRecord | None = None
    """another image, to which it is compared"""

    def __str__(self) -> str:
        return f"{self.split}: {self.text}"


@dataclass(frozen=True)
class Finding:
    severity: Severity
    key: str
    """for scripts and file names: lower case and hyphens"""
    what: str
    """what is counted, such as 'boxes drawn twice'"""
    advice: str
    """what to do, or what is done"""
    examples: tuple[Example, ...]
    count: int = -1
    """-1: as many as there are examples"""

    def __post_init__(self) -> None:
        if self.count < 0:
            object.__setattr__(self, "count", len(self.examples))

    def as_note(self) -> "Finding":
        return replace(self, severity="note")


class Kind(NamedTuple):
    """A finding without its examples."""

    severity: Severity
    key: str
    what: str
    advice: str

    def found(self, examples: Sequence[Example], count: int = -1) -> list[Finding]:
        """A list of the finding, or an empty list without examples."""
        return [Finding(*self, tuple(examples), count)] if examples else []


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

    @cached_property
    def class_boxes(self) -> list[tuple[str, int]]:
        """(C) name and number of boxes of each class; crowd regions do not count. Two classes may have one name."""
        return list(zip(self.dataset.classes, boxes_per_class(self.dataset).tolist(), strict=True))

    def at(self, rows: Sequence[int], note: str = "") -> Example:
        """An example of the boxes `rows` of the index, all of one image."""
        owner = int(self.image_of[rows[0]])
        image, first = self.dataset.images[owner], int(self.index.start[owner])
        places = (
            f"{self.dataset.classes[self.index.labels[row]]} at"
            f" {' '.join(f'{value:.0f}' for value in self.index.boxes[row])}"
            for row in rows
        )
        text = f"{image.path.name}, {' and '.join(places)}{note}"
        return Example(self.name, text, image, tuple(row - first for row in rows))


def sample(items: Sequence[Item], most: int) -> list[Item]:
    """Up to `most` of the items, evenly spread."""
    step = -(-len(items) // most)
    return list(items[:: max(1, step)])


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, and the most frequent first within a severity."""
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.count, finding.key))
