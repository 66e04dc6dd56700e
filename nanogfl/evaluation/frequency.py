"""AP of rare, common and frequent classes, by the number of training images that hold them (LVIS, arXiv:1908.03195)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nanogfl.data.class_counts import RARE
from nanogfl.errors import UserError
from nanogfl.evaluation.coco_ap import Report
from nanogfl.evaluation.groups import GROUPS, Groups, group_figures, group_lines, group_means

LVIS_LIMITS = (RARE, 100)
"""the most training images that hold a rare class, and a common one"""


@dataclass(frozen=True)
class FrequencyReport:
    groups: Groups
    limits: tuple[int, int]
    train_images: tuple[int, ...]
    """that hold each class, in the order of the classes"""

    def figures(self) -> dict[str, float | None]:
        """ap_rare, ap_common, ap_frequent; None: n/a."""
        return group_figures(self.groups)

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.figures(),
            "limits": list(self.limits),
            "classes": {group.name: group.classes for group in self.groups},
            "classes_measured": {group.name: group.measured for group in self.groups},
            "train_images": list(self.train_images),
        }


def require_limits(limits: tuple[int, int]) -> None:
    """Raises UserError unless 0 <= rare limit < common limit."""
    if not 0 <= limits[0] < limits[1]:
        raise UserError(f"the limits of rare and common classes must rise from 0 or more, got {limits[0]} {limits[1]}")


def by_frequency(report: Report, train_images: Sequence[int], limits: tuple[int, int]) -> FrequencyReport:
    """Groups the report's classes by `train_images` (C,), the number of training images that hold each.

    A class is rare in 0 to limits[0] images, common up to limits[1], frequent above. Raises UserError for limits that
    do not rise.
    """
    require_limits(limits)
    rare, common = limits
    members = [GROUPS[(images > rare) + (images > common)] for images in train_images]
    groups = group_means([entry.ap for entry in report.classes], members)
    return FrequencyReport(groups, limits, tuple(int(images) for images in train_images))


def frequency_figures(report: Report, train_images: Sequence[int]) -> dict[str, float | None]:
    """ap_rare, ap_common, ap_frequent: by the groups that the evaluated set states, if it is LVIS's; otherwise by
    `train_images` (C,) at LVIS's limits."""
    return group_figures(report.groups or by_frequency(report, train_images, LVIS_LIMITS).groups)


def format_frequency(report: FrequencyReport) -> str:
    """One line per group."""
    rare, common = report.limits
    ranges = (f"at most {rare}", f"{rare + 1} to {common}", f"more than {common}")
    width = max(len(text) for text in ranges)
    low, middle, high = (f"{text:>{width}} training images: " for text in ranges)
    return "\n".join(group_lines(report.groups, (low, middle, high)))
