"""Boxes as annotated: what the reader left out, and objects that are annotated twice."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.lint.files import UNREADABLE
from nanogfl.data.lint.finding import Example, Finding, Kind, Split

SAME_IOU = 0.95
"""two boxes above this are the same box"""

_KINDS = {
    "image is missing": Kind("error", "missing-images", "images are missing", "copy them there, or remove the entries"),
    "bad box": Kind("warning", "bad-boxes", "boxes that are not four numbers", "left out: annotate them again"),
    "empty box": Kind("warning", "empty-boxes", "boxes without width or height", "left out: remove or redraw them"),
    "box outside its image": Kind(
        "warning", "boxes-outside", "boxes outside their image", "left out: is it the right image, of the right size?"
    ),
    "box reaches outside its image, clipped": Kind(
        "note", "clipped-boxes", "boxes that reach outside their image", "clipped; many of them: is the size right?"
    ),
    "boxes are probably corners x1 y1 x2 y2, where COCO has x y width height": Kind(
        "error", "corner-boxes", "files whose boxes are probably corners", "write each as x y width height"
    ),
    "rotated box, its upright hull is taken": Kind(
        "note", "rotated-boxes", "rotated boxes", "nothing to do: the upright box around each is taken"
    ),
    "image size is not stated, taken from its file": Kind(
        "note", "sizes-from-files", "images whose size the annotations do not state", "nothing to do: the files tell"
    ),
    "image found under another name": Kind(
        "note", "mended-names", "images found under another name", "taken; nanogfl data convert writes the names"
    ),
    "unreadable image": UNREADABLE,
}
_TWICE = Kind(
    "warning",
    "duplicate-boxes",
    "boxes drawn twice",
    "remove one of each two: the second can never be detected, which costs AP",
)
_CONTRARY = Kind(
    "warning",
    "contrary-boxes",
    "boxes with two classes",
    "one object has one class: remove the wrong one, unless both names are meant to be true",
)


def check_problems(splits: Sequence[Split]) -> list[Finding]:
    """What the reader listed, by kind."""
    found: dict[str, list[Example]] = defaultdict(list)
    for split in splits:
        by_name = {image.path.name: image for image in split.dataset.images}
        for where, reason in split.dataset.problems:
            kind, _, detail = reason.partition(":")
            name = where.split(", annotation ")[0]
            image = by_name.get(name.replace("\\", "/").rsplit("/", 1)[-1])
            found[kind].append(Example(split.name, f"{where}:{detail or ' ' + kind}", image))
    return [finding for kind, examples in found.items() for finding in _known(kind).found(examples)]


def _known(kind: str) -> Kind:
    key = re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-")
    return _KINDS.get(kind, Kind("warning", key, kind, "mend or remove them"))


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
    return [*_TWICE.found(twice), *_CONTRARY.found(contrary)]


def same_boxes(split: Split) -> NDArray[np.int64]:
    """(P, 2) rows of the index's boxes, rising within a pair, that lie in one image and are nearly equal; no crowds.

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
        corner = np.minimum(boxes[first, 2:], boxes[second, 2:]) - np.maximum(boxes[first, :2], boxes[second, :2])
        shared = np.prod(np.maximum(corner, 0), axis=1)
        same = shared > SAME_IOU * (area[first] + area[second] - shared)
        pairs.append(np.sort(np.stack((rows[first[same]], rows[second[same]]), axis=1), axis=1))
    every = np.concatenate(pairs)
    return every[np.lexsort((every[:, 1], every[:, 0]))]
