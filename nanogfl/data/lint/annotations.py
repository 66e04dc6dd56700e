"""Findings about boxes: what the reader left out, boxes drawn twice, images without objects, crowds, sizes."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.input_spec import InputSpec
from nanogfl.contract.overlap import overlap
from nanogfl.data.advice.input_size import ENOUGH, InputChoice, enough_input
from nanogfl.data.lint.finding import SHOWN, Example, Finding, Kind, Severity, Split, sample
from nanogfl.data.lint.kinds import KINDS

SAME_IOU = 0.95
"""two boxes above this are the same box"""
MANY_EMPTY = 0.5
"""a larger share of images without objects is probably a mistake"""
MANY_CROWDS = 0.5
"""a larger share of crowd regions among a class's boxes is probably a mistake"""
MANY_NARROW = 0.1
"""a larger share of objects narrower than the finest stride is worth a warning; of COCO's it is a quarter at 320"""

_KNOWN = {
    "image is missing": "missing-images",
    "bad box": "bad-boxes",
    "empty box": "empty-boxes",
    "box outside its image": "boxes-outside",
    "box reaches outside its image, clipped": "clipped-boxes",
    "boxes are probably corners x1 y1 x2 y2, where COCO has x y width height": "corner-boxes",
    "rotated box, its upright hull is taken": "rotated-boxes",
    "image size is not stated, taken from its file": "sizes-from-files",
    "image found under another name": "mended-names",
    "unreadable image": "unreadable-images",
}
"""key of the finding by the kind of a reader's problem: its reason up to the first colon"""
_ADVICE = {
    "annotation is missing": "the image is left out: add its xml, or remove it from the list",
    "unusable xml": "the image is left out: export its annotations again",
    "bad line": "the box is left out: write the line as its example says",
    "bad iscrowd, box left out": "write 0 for an object, 1 for a region of many",
    "bad <difficult>, box left out": "write 0 for an object, 1 for one that does not count",
    "no class": "the box is left out: give it a <name>",
    "rotation is not understood, box taken as upright": "write the angle in degrees, or draw the upright box",
    "label file without image": "its boxes are not used: add the image, or remove the label file",
    "picture is of a kind that is not read": "left out: convert it to .jpg or .png",
    "linked folder is not followed": "nothing is lost: its files are read where they lie",
    "folder cannot be read": "its images are not used: give this user the right to read it",
    "link is broken": "copy the file that it should lead to, or remove the link",
    "category both negative and annotated, taken as annotated": "remove it from the image's neg_category_ids",
}
"""what to do about kinds of problems of a single format, which are warnings under their own words"""


def check_problems(splits: Sequence[Split]) -> list[Finding]:
    """The problems that the reader listed, by kind."""
    found: dict[str, list[Example]] = defaultdict(list)
    for split in splits:
        by_name = {image.path.name: image for image in split.dataset.images}
        for where, reason in split.dataset.problems:
            kind, _, detail = reason.partition(":")
            name = where.split(", annotation ")[0]
            image = by_name.get(name.replace("\\", "/").rsplit("/", 1)[-1])
            found[kind].append(Example(split.name, f"{where}:{detail or ' ' + kind}", image))
    return [finding for kind, examples in found.items() for finding in _kind_of(kind).found(examples)]


def _kind_of(problem: str) -> Kind:
    if problem in _KNOWN:
        return KINDS[_KNOWN[problem]]
    key = re.sub(r"[^a-z0-9]+", "-", problem.lower()).strip("-")
    advice = _ADVICE.get(problem, "correct them where the examples say, or nanogfl data convert writes what is read")
    return Kind("warning", key, problem, advice)


def check_boxes(splits: Sequence[Split]) -> list[Finding]:
    """Objects that are annotated twice, with one class or with two."""
    twice: list[Example] = []
    contrary: list[Example] = []
    for split in splits:
        pairs = same_boxes(split)
        labels = split.index.labels[pairs]
        equal = labels[:, 0] == labels[:, 1]
        twice += [split.at([int(row)]) for row in np.unique(pairs[equal, 1])]
        contrary += [split.at([int(a), int(b)]) for a, b in pairs[~equal]]
    return [*KINDS["duplicate-boxes"].found(twice), *KINDS["contrary-boxes"].found(contrary)]


def same_boxes(split: Split) -> NDArray[np.int64]:
    """(P, 2) rows of the index's boxes that lie in one image and are nearly equal, rising; without crowd regions.

    Equal boxes have equal areas: sorted by area within an image, a box is compared with the next, the second next, ...
    until no area is near enough any more.
    """
    index = split.index
    area = np.prod((index.boxes[:, 2:] - index.boxes[:, :2]).astype(np.float64), axis=1)
    rows = np.flatnonzero(~index.crowd)
    rows = rows[np.lexsort((area[rows], split.image_of[rows]))]
    boxes, area, owner = index.boxes[rows].astype(np.float64), area[rows], split.image_of[rows]
    first, distance = np.arange(len(rows)), 0
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    while len(first):
        distance += 1
        first = first[first + distance < len(rows)]
        second = first + distance
        near = (owner[first] == owner[second]) & (area[first] >= SAME_IOU * area[second])
        first, second = first[near], second[near]
        same = overlap(boxes[first], boxes[second]).iou > SAME_IOU
        pairs.append(np.sort(np.stack((rows[first[same]], rows[second[same]]), axis=1), axis=1))
    every = np.concatenate(pairs)
    return every[np.lexsort((every[:, 1], every[:, 0]))]


def check_crowds(splits: Sequence[Split]) -> list[Finding]:
    """All crowd regions as a note, and as a warning the classes that hardly have another box."""
    crowds: list[Example] = []
    mostly: list[Example] = []
    count = 0
    for split in splits:
        rows = np.flatnonzero(split.index.crowd)
        count += len(rows)
        crowds += [split.at([int(row)]) for row in sample(rows.tolist(), SHOWN)]
        ignored_of = np.bincount(split.index.labels[rows], minlength=len(split.dataset.classes))
        for ignored, (name, objects) in zip(ignored_of, split.class_boxes, strict=True):
            if ignored > MANY_CROWDS * (ignored + objects):
                mostly.append(Example(split.name, f"'{name}': {ignored} of {ignored + objects} boxes"))
    return [*KINDS["mostly-crowds"].found(mostly), *KINDS["crowd-regions"].found(crowds, count)]


def check_empty(splits: Sequence[Split], min_labelled: float) -> list[Finding]:
    """Images without an object.

    An error where fewer than the share `min_labelled` of the training images have one, which a training refuses, and
    where no validation image has one.
    """
    empty: list[Example] = []
    findings: list[Finding] = []
    count = 0
    severity: Severity = "note"
    for split in splits:
        without = [image for image in split.dataset.images if not (~image.crowd).any()]
        share = len(without) / len(split.dataset.images)
        examples = [Example(split.name, image.path.name, image) for image in sample(without, SHOWN)]
        if split.name == "val" and share == 1:
            findings += KINDS["val-without-objects"].found(examples, len(without))
            continue
        count += len(without)
        empty += examples
        if split.name == "train" and (share == 1 or 1 - share < min_labelled):
            severity = "error"
        elif share > MANY_EMPTY and severity == "note":
            severity = "warning"
    kind = KINDS["empty-images"]._replace(severity=severity)
    if severity == "error":
        crowds = sum(int(split.index.crowd.sum()) for split in splits if split.name == "train")
        advice = (
            "training refuses so few images with a box: do the annotations belong to these images? data.min_labelled"
            + (f"; {crowds} boxes are crowd regions, which are ignored" if crowds else "")
        )
        kind = kind._replace(advice=advice)
    return [*findings, *kind.found(empty, count)]


def check_sizes(train: Split, spec: InputSpec, finest_stride: float) -> list[Finding]:
    """Objects of the training set of few pixels, where a larger input is advised (`enough_input`), or where many are
    narrower than the finest stride, in pixels."""
    sides = train.index.object_sides(spec)
    if not len(sides):
        return []
    size, extent = enough_input(train.index, spec), np.sqrt(sides.prod(axis=1))
    narrow = sides.min(axis=1) < finest_stride
    if size.hw == spec.hw and narrow.mean() <= MANY_NARROW:
        return []
    small = narrow | (extent < ENOUGH)
    rows = np.flatnonzero(~train.index.crowd)
    examples = [
        train.at([int(row)], f": {w:.1f} x {h:.1f} px at the input")
        for row, (w, h) in sample(list(zip(rows[small], sides[small], strict=True)), SHOWN)
    ]
    what = f"objects of few pixels at the input: below {ENOUGH:g} x {ENOUGH:g}, or narrower than {finest_stride:g}"
    kind = Kind("warning", "small-objects", what, _enlarge(size, spec, float(narrow.mean()), finest_stride))
    return kind.found(examples, int(small.sum()))


def _enlarge(size: InputChoice, spec: InputSpec, narrow: float, finest_stride: float) -> str:
    if size.hw != spec.hw:
        still = size.median * size.hw[0] / spec.hw[0] < ENOUGH
        return (
            f"half of all objects are below {size.median:.0f} x {size.median:.0f} px: set model.input.hw to"
            f" [{size.hw[0]}, {size.hw[1]}] ({size.time:.1f} times the computation)"
            + (", and cut large images into parts" if still else "")
        )
    missed = (
        f"{narrow:.0%} are narrower than the finest stride, {finest_stride:g} px, and many of those will be missed: "
    )
    if size.held:
        return missed + "a larger model.input.hw finds more of them, or leave them out"
    return missed + "the images hold no more pixels, so take pictures nearer, or cut larger images into parts"
