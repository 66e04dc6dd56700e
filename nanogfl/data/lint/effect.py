"""Severity by effect: a warning about so few boxes or images that AP hardly moves becomes a note."""

from collections.abc import Iterable

from nanogfl.data.lint.finding import Finding, Split

OF_BOXES = frozenset({"bad-boxes", "empty-boxes", "boxes-outside", "duplicate-boxes", "contrary-boxes"})
FEW_BOXES = 0.01
"""of all boxes: AP can lose about as much"""
OF_VAL_IMAGES = frozenset({"near-duplicates", "split-versions", "split-scenes"})
FEW_VAL_IMAGES = 0.02
"""of val's images: at an AP of .5 it raises AP by half as much; and pictures that only look alike are as frequent"""
OF_IMAGES = frozenset({"copied-images"})
FEW_IMAGES = 0.02
"""of all images"""


def by_effect(findings: Iterable[Finding], train: Split, val: Split) -> list[Finding]:
    """The findings, warnings of little effect as notes."""
    boxes = sum(int((~split.index.crowd).sum()) for split in (train, val))
    images = len(train.index) + len(val.index)
    limits = dict.fromkeys(OF_BOXES, FEW_BOXES * boxes)
    limits |= dict.fromkeys(OF_VAL_IMAGES, FEW_VAL_IMAGES * len(val.index))
    limits |= dict.fromkeys(OF_IMAGES, FEW_IMAGES * images)
    return [
        finding.as_note() if finding.severity == "warning" and finding.count < limits.get(finding.key, 0) else finding
        for finding in findings
    ]
