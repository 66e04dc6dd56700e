"""Which rows of a head's last convolutions mean the same in another head."""

from dataclasses import dataclass

from nanogfl.config import HeadConfig
from nanogfl.model.heads.layout import HeadLayout

# One convolution for all rows, in HeadLayout's order, or one per kind.
_KINDS = {
    "head.outputs.": ("classes", "box", "quality"),
    "head.class_output.": ("classes",),
    "head.box_output.": ("box",),
    "head.quality_output.": ("quality",),
}
OUTPUTS = tuple(_KINDS)
"""how the names of these convolutions begin"""


@dataclass(frozen=True)
class Head:
    config: HeadConfig
    classes: tuple[str, ...]

    @property
    def layout(self) -> HeadLayout:
        return HeadLayout.of(self.config, len(self.classes))


@dataclass(frozen=True)
class Rows:
    """Rows of one kind in an output."""

    kind: str
    """classes, box or quality"""
    count: int
    ours: list[int]
    """those that have a counterpart"""
    theirs: list[int]
    """their numbers in the other head's output of the same name"""
    reason: str
    """why the others have none: "other classes" """


def matching_rows(name: str, ours: Head, theirs: Head) -> list[Rows]:
    """The rows of the tensor `name`, one entry per kind of rows that it has in `ours`.

    Class logits match by class name and anchor, box rows where the same numbers mean the same box, and a quality row
    where both heads predict the same quality.
    """
    kinds, found = _KINDS[next(prefix for prefix in OUTPUTS if name.startswith(prefix))], []
    start = their_start = 0
    for kind in kinds:
        match kind:
            case "classes":
                count, their_count = ours.layout.class_rows, theirs.layout.class_rows
                pairs, reason = _classes(ours, theirs)
            case "box":
                count, their_count = ours.layout.box_rows, theirs.layout.box_rows
                reason = _other_box(ours.config, theirs.config)
                pairs = [] if reason else [(row, row) for row in range(count)]
            case _:
                count, their_count = int(ours.layout.quality), int(theirs.layout.quality)
                same = ours.config.quality == theirs.config.quality
                pairs, reason = [(0, 0)] * (count and same), "another quality"
        if count:
            rows = [start + row for row, _ in pairs], [their_start + row for _, row in pairs]
            found.append(Rows(kind, count, *rows, reason))
        start, their_start = start + count, their_start + their_count
    return found


def _classes(ours: Head, theirs: Head) -> tuple[list[tuple[int, int]], str]:
    """Pairs of matching rows of the class logits, and why other rows have no match."""
    anchors = ours.layout.anchors
    if anchors != theirs.layout.anchors:
        return [], "other anchors"
    pairs = [
        (anchor * len(ours.classes) + row, anchor * len(theirs.classes) + theirs.classes.index(name))
        for anchor in range(anchors)
        for row, name in enumerate(ours.classes)
        if name in theirs.classes
    ]
    return pairs, "other classes"


def _other_box(ours: HeadConfig, theirs: HeadConfig) -> str:
    """Why the same numbers would mean another box; empty where they mean the same box.

    general and general+dfl differ in their training alone.
    """
    if ours.box != theirs.box and not (ours.bins and theirs.bins):
        return "another box"
    if ours.bins != theirs.bins:
        return "another reg_max"
    if ours.bins and ours.bin_width != theirs.bin_width:
        return "another bin_width"
    return "another anchor_size" if ours.box == "deltas" and ours.anchor_size != theirs.anchor_size else ""
