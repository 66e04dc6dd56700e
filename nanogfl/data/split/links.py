"""Pairs of images that belong on one side of a split, and why."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import numpy as np

from nanogfl.data.split.fingerprints import Fingerprints, joined, likeness, near_images
from nanogfl.data.split.names import Named

SAME_SCENE = 0.75
"""correlation of neighbouring frames of a video: in a sampled film of one scene .79 to .99, across a cut at most .52"""
SAME_BURST = 0.9
"""correlation of neighbours in a numbered series of photographs, whose numbers alone say little"""
MOST_COPIES = 50
"""of one photograph: a name that more images share (download.jpg) says nothing"""
LEAST_LIKE = 0.5
"""median correlation of versions of one photograph by their names: .7 to .9; different photographs have .2 to .4"""
_FEW = 4
_COMPARED = 8
"""members of a frame that are compared with those of the next"""


class Why(IntEnum):
    """From the surest on."""

    COPY = 0
    """the same file, or the same pixels"""
    NAME = 1
    """the names say: versions of one photograph"""
    NEAR = 2
    """they look nearly alike"""
    SERIES = 3
    """neighbours in a numbered series that look alike"""
    VIDEO = 4
    """the names say: frames of one video"""

    @property
    def plural(self) -> str:
        """What the images of such pairs are."""
        return _PLURAL[self]


_PLURAL = {
    Why.COPY: "equal files",
    Why.NAME: "versions of one photograph by their names",
    Why.NEAR: "pictures that look nearly alike",
    Why.SERIES: "neighbours in a series that look alike",
    Why.VIDEO: "frames of one video by their names",
}


class Link(NamedTuple):
    first: int
    second: int
    why: Why
    bits: int = 0
    """of 64 in which the hashes differ, where they were compared"""


def find_links(names: Sequence[Named], prints: Fingerprints) -> Iterator[Link]:
    """Within one set of images, enough of them to connect all that belong together."""
    rows = range(len(names))
    first = _first_of_key(prints.digests, rows)
    part = np.arange(len(names))
    """(n,) equal where images are connected already, so that they need not be compared"""
    for row in rows:
        if (digest := prints.digests[row]) and first[digest] != row:
            yield Link(first[digest], row, Why.COPY)
            continue
        others, bits = near_images(prints, row, prints, part[row + 1 :] != part[row])
        for other, differing in zip(others.tolist(), bits.tolist(), strict=True):
            if part[other] != part[row]:
                part[part == part[other]] = part[row]
                yield Link(row, other, Why.NEAR, differing)
    for rows_of in _grouped((name.photograph for name in names), rows):
        if len(rows_of) <= MOST_COPIES:
            yield from (Link(rows_of[0], row, Why.NAME) for row in rows_of[1:])
    for rows_of in _grouped((name.video for name in names), rows):
        yield from (Link(rows_of[0], row, Why.VIDEO) for row in rows_of[1:])
    for before, after in _neighbours(names):
        if _in_one_series(names, prints, before, after):
            yield Link(before[0], after[0], Why.SERIES)


def find_shared(
    train: Sequence[Named], train_prints: Fingerprints, val: Sequence[Named], val_prints: Fingerprints
) -> list[Link]:
    """For each image of val that shares a photograph or a scene with train, the surest link: (row of val, of train)."""
    found: dict[int, Link] = {}

    def add(link: Link) -> None:
        found.setdefault(link.first, link)

    same = _first_of_key(train_prints.digests, range(len(train)))
    versions = _versions(train, train_prints, val, val_prints)
    for row, name in enumerate(val):
        if val_prints.digests[row] and val_prints.digests[row] in same:
            add(Link(row, same[val_prints.digests[row]], Why.COPY))
        elif name.photograph in versions and name.exported:
            add(Link(row, versions[name.photograph], Why.NAME))
        else:
            others, bits = near_images(val_prints, row, train_prints)
            if len(others):
                add(Link(row, int(others[0]), Why.NEAR, int(bits[0])))
    count = len(train)
    both = [*train, *val]
    prints = joined(train_prints, val_prints)
    for pair in _neighbours(both):
        for here, there in (pair, pair[::-1]):
            ours = [row for row in here if row >= count and row - count not in found]
            theirs = [row for row in there if row < count]
            if not ours or not theirs:
                continue
            if both[ours[0]].video:
                why = Why.VIDEO
            elif _in_one_series(both, prints, ours, theirs):
                why = Why.SERIES
            else:
                continue
            for row in ours:
                add(Link(row - count, theirs[0], why))
    return [found[row] for row in sorted(found)]


def _versions(
    train: Sequence[Named], train_prints: Fingerprints, val: Sequence[Named], val_prints: Fingerprints
) -> dict[str, int]:
    """A row of train for each photograph of which both sides have a version by its name.

    Empty where those pictures mostly differ: originals were numbered anew in each part then.
    """
    rows = _grouped((name.photograph if name.exported else "" for name in train), range(len(train)))
    of_name = {train[of[0]].photograph: of for of in rows if len(of) <= MOST_COPIES}
    prints = joined(train_prints, val_prints)
    alike = [
        likeness(prints, of_name[name.photograph][:_COMPARED], [len(train) + row], turned=True)
        for row, name in enumerate(val)
        if name.exported and name.photograph in of_name and val_prints.digests[row]
    ]
    if len(alike) >= _FEW and median(alike) < LEAST_LIKE:
        return {}
    return {name: of[0] for name, of in of_name.items()}


def _first_of_key(keys: Sequence[Hashable], rows: Iterable[int]) -> dict[Hashable, int]:
    """The first row of each key that is not empty."""
    first: dict[Hashable, int] = {}
    for row in rows:
        if keys[row]:
            first.setdefault(keys[row], row)
    return first


def _grouped(keys: Iterable[Hashable], rows: Iterable[int]) -> list[list[int]]:
    """The rows of each key that is not empty."""
    groups = defaultdict(list)
    for key, row in zip(keys, rows, strict=True):
        if key:
            groups[key].append(row)
    return list(groups.values())


def _neighbours(names: Sequence[Named]) -> Iterator[tuple[list[int], list[int]]]:
    """Rows of each place of a sequence, and those of the next place that is there."""
    for rows in _grouped((name.sequence for name in names), range(len(names))):
        places = defaultdict(list)
        for row in rows:
            places[names[row].number].append(row)
        yield from pairwise(places[number] for number in sorted(places))


def _in_one_series(names: Sequence[Named], prints: Fingerprints, here: Sequence[int], there: Sequence[int]) -> bool:
    is_frame = names[here[0]].is_frame
    alike = likeness(prints, here[:_COMPARED], there[:_COMPARED], turned=is_frame)
    return alike >= (SAME_SCENE if is_frame else SAME_BURST)
