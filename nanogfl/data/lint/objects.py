"""What there is to learn and to measure: images without objects, and crowd regions, which are neither."""

from collections.abc import Sequence

import numpy as np

from nanogfl.data.lint.finding import Example, Finding, Kind, Severity, Split, sample

MANY_EMPTY = 0.5
"""a larger share of images without objects is probably a mistake"""
MANY_CROWDS = 0.5
"""a larger share of a class's boxes that are crowd regions is probably a mistake"""
_SHOWN = 24

_NO_AP = Kind(
    "error",
    "val-without-objects",
    "validation images, none of which has an object",
    "without objects there is no AP, by which the best weights are chosen: annotate these images, or move some with"
    " objects here",
)
_MOSTLY_CROWDS = Kind(
    "warning",
    "mostly-crowds",
    "classes whose boxes are mostly crowd regions, which are ignored",
    "neither learned nor measured: tools for masks write iscrowd 1 for single objects, too; set it to 0 (in VOC"
    " difficult) where a box is one object",
)


def check_objects(splits: Sequence[Split], min_labelled: float) -> list[Finding]:
    """Images without an object: an error where fewer than the share `min_labelled` of the training images have one,
    which a training refuses, and where no validation image has one. Crowd regions."""
    return [*_crowds(splits), *_empty(splits, min_labelled)]


def _crowds(splits: Sequence[Split]) -> list[Finding]:
    """All of them as a note, and as a warning the classes that hardly have another box."""
    crowds: list[Example] = []
    mostly: list[Example] = []
    count = 0
    for split in splits:
        rows = np.flatnonzero(split.index.crowd)
        count += len(rows)
        crowds += [split.at([int(row)]) for row in sample(rows.tolist(), _SHOWN)]
        of_class = np.bincount(split.index.labels[rows], minlength=len(split.dataset.classes))
        for name, ignored, objects in zip(split.dataset.classes, of_class, split.boxes_per_class(), strict=True):
            if ignored > MANY_CROWDS * (ignored + objects):
                mostly.append(Example(split.name, f"'{name}': {ignored} of {ignored + objects} boxes"))
    if not crowds:
        return []
    what = "crowd regions (iscrowd 1, in VOC difficult), which are ignored"
    advice = "nothing to do where each is a region of many objects: they are neither objects nor background"
    return [*_MOSTLY_CROWDS.found(mostly), Finding("note", "crowd-regions", what, advice, tuple(crowds), count)]


def _empty(splits: Sequence[Split], min_labelled: float) -> list[Finding]:
    empty: list[Example] = []
    findings: list[Finding] = []
    count = 0
    severity: Severity = "note"
    for split in splits:
        without = [image for image in split.dataset.images if not (~image.crowd).any()]
        share = len(without) / len(split.dataset.images)
        examples = [Example(split.name, image.path.name, image) for image in sample(without, _SHOWN)]
        if split.name == "val" and share == 1:
            findings.append(Finding(*_NO_AP, tuple(examples), len(without)))
            continue
        count += len(without)
        empty += examples
        if split.name == "train" and (share == 1 or 1 - share < min_labelled):
            severity = "error"
        elif share > MANY_EMPTY and severity == "note":
            severity = "warning"
    if empty:
        crowds = sum(int(split.index.crowd.sum()) for split in splits if split.name == "train")
        ignored = f"; {crowds} boxes are crowd regions, which are ignored" if crowds else ""
        advice = (
            "training refuses so few images with a box: do the annotations belong to these images? data.min_labelled"
            + ignored
            if severity == "error"
            else "allowed, they teach what background is; look whether they are empty indeed"
        )
        findings.append(Finding(severity, "empty-images", "images without objects", advice, tuple(empty), count))
    return findings
