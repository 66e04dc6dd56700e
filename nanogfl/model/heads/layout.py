"""What a head's answer at one place of a level consists of."""

from dataclasses import dataclass

from nanogfl.config import HeadConfig
from nanogfl.model.boxes.anchors import ANCHORS_PER_POINT


@dataclass(frozen=True)
class HeadLayout:
    """Rows of a level's answer, in this order: class logits, box, quality; within them anchor after anchor."""

    classes: int
    side_values: int
    """P"""
    quality: bool
    """a row of its own"""
    anchors: int
    """a point has; 1 where it has none"""

    @staticmethod
    def of(config: HeadConfig, class_count: int) -> "HeadLayout":
        anchors = ANCHORS_PER_POINT if config.box == "deltas" else 1
        return HeadLayout(class_count, config.side_values, config.has_quality_branch, anchors)

    @property
    def class_rows(self) -> int:
        return self.anchors * self.classes

    @property
    def box_rows(self) -> int:
        """left top right bottom (or dx dy dw dh), P each"""
        return self.anchors * 4 * self.side_values

    @property
    def split(self) -> list[int]:
        return [self.class_rows, self.box_rows] + [1] * self.quality

    @property
    def rows(self) -> int:
        return sum(self.split)
