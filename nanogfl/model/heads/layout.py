"""The channels of a head's output."""

from dataclasses import dataclass

from nanogfl.config import HeadConfig
from nanogfl.model.boxes.anchors import ANCHORS_PER_POINT


@dataclass(frozen=True)
class HeadLayout:
    """Channels ("rows") of a head's output, in this order: class logits, box, quality; each anchor by anchor."""

    classes: int
    side_values: int
    """P, numbers per side of the box"""
    quality: bool
    """there is a row for the quality"""
    anchors: int
    """per point; 1 for boxes without anchors"""

    @staticmethod
    def of(config: HeadConfig, class_count: int) -> "HeadLayout":
        """The layout of a head for `class_count` classes."""
        anchors = ANCHORS_PER_POINT if config.box == "deltas" else 1
        return HeadLayout(class_count, config.side_values, config.has_quality_branch, anchors)

    @property
    def class_rows(self) -> int:
        """C for all anchors"""
        return self.anchors * self.classes

    @property
    def box_rows(self) -> int:
        """left top right bottom (or dx dy dw dh), P each, for all anchors"""
        return self.anchors * 4 * self.side_values

    @property
    def split(self) -> list[int]:
        """Numbers of rows: classes, box and, if there is one, quality."""
        return [self.class_rows, self.box_rows] + [1] * self.quality

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.split)
