"""AP of rare, common and frequent classes, by the number of training images that hold them (LVIS, arXiv:1908.03195)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nanogfl.contract.errors import UserError
from nanogfl.evaluate.coco_ap import Report

GROUPS = ("rare", "common", "frequent")
LVIS_LIMITS = (10, 100)
"""most training images of a rare and of a common class"""


@dataclass(frozen=True)
class Group:
    name: str
    ap: float | None
    """mean over the classes that have an object in the evaluated set; None: there is none"""
    classes: int
    measured: int
    """of them with an object in the evaluated set"""


@dataclass(frozen=True)
class FrequencyReport:
    groups: tuple[Group, Group, Group]
    """rare, common, frequent"""
    limits: tuple[int, int]
    train_images: tuple[int, ...]
    """that hold each class, in the order of the classes"""

    def figures(self) -> dict[str, float | None]:
        """ap_rare, ap_common, ap_frequent: as a log and a table name them."""
        return {f"ap_{group.name}": group.ap for group in self.groups}

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.figures(),
            "limits": list(self.limits),
            "classes": {group.name: group.classes for group in self.groups},
            "classes_measured": {group.name: group.measured for group in self.groups},
            "train_images": list(self.train_images),
        }


def require_limits(limits: tuple[int, int]) -> None:
    """Raises UserError where no class could be common."""
    if not 0 <= limits[0] < limits[1]:
        raise UserError(f"the limits of rare and common classes must rise from 0 or more, got {limits[0]} {limits[1]}")


def by_frequency(report: Report, train_images: Sequence[int], limits: tuple[int, int]) -> FrequencyReport:
    """`train_images` (C,): training images that hold each class of the report. A class is rare up to limits[0] images,
    none included, common up to limits[1], frequent above."""
    require_limits(limits)
    rare, common = limits
    members: tuple[list[float | None], ...] = ([], [], [])
    for entry, images in zip(report.classes, train_images, strict=True):
        members[(images > rare) + (images > common)].append(entry.ap)
    first, second, third = (_group(name, aps) for name, aps in zip(GROUPS, members, strict=True))
    return FrequencyReport((first, second, third), limits, tuple(int(images) for images in train_images))


def format_frequency(report: FrequencyReport) -> str:
    """A line for each group."""
    rare, common = report.limits
    ranges = (f"at most {rare}", f"{rare + 1} to {common}", f"more than {common}")
    width = max(len(text) for text in ranges)
    lines = []
    for letter, group, images in zip("rcf", report.groups, ranges, strict=True):
        ap = "n/a  " if group.ap is None else f"{group.ap:.3f}"
        without = group.classes - group.measured
        note = f", {without} of them without objects here" if without else ""
        lines.append(
            f"AP{letter} {ap}  {group.name:<8}  {images:>{width}} training images: {group.classes} classes{note}"
        )
    return "\n".join(lines)


def _group(name: str, aps: list[float | None]) -> Group:
    measured = [ap for ap in aps if ap is not None]
    return Group(name, sum(measured) / len(measured) if measured else None, len(aps), len(measured))
