"""Photographs and scenes that two given parts of a data set share."""

from collections import Counter
from typing import NamedTuple

from nanogfl.data.cache.ahead import Track
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.data.split.fingerprints import Fingerprints, read_fingerprints
from nanogfl.data.split.links import Why, find_shared
from nanogfl.data.split.names import read_name, relative_names, short_name

WHY = {
    Why.COPY: "is the same picture as",
    Why.NAME: "is by its name another version of",
    Why.NEAR: "looks nearly like",
    Why.SERIES: "looks like its neighbour in a series,",
    Why.VIDEO: "is by its name from the same video as",
}


class Leak(NamedTuple):
    """An image of the validation part, and one of the training part that shows the same photograph or scene."""

    val: ImageRecord
    train: ImageRecord
    why: Why
    bits: int
    """of 64 in which their hashes differ; 0 unless `why` is NEAR"""

    def __str__(self) -> str:
        return f"{self.val.path.name} {WHY[self.why]} {self.train.path.name}"


def leaks(
    train: DataSet,
    val: DataSet,
    prints: tuple[Fingerprints, Fingerprints] | None = None,
    *,
    names_only: bool = False,
    track: Track = lambda results, _: results,
) -> list[Leak]:
    """What the two parts share: each image of `val` once at most, with the surest reason, in the order of `val`.

    The images are read (`track` may show progress), unless `prints` holds what is known of those of train and of val;
    `names_only` reads none and compares the names alone. Names are compared below the folder that each part's images
    share. Equal numbers alone say nothing: each part may count from 1.
    """
    if names_only:
        prints = Fingerprints.nothing(len(train.images)), Fingerprints.nothing(len(val.images))
    elif prints is None:
        both = read_fingerprints([*train.images, *val.images], track)
        cut = len(train.images)
        prints = both[:cut], both[cut:]
    names = [[read_name(name) for name in relative_names([i.path for i in part.images])] for part in (train, val)]
    found = find_shared(names[0], prints[0], names[1], prints[1])
    return [Leak(val.images[link.first], train.images[link.second], link.why, link.bits) for link in found]


def describe_leaks(found: list[Leak], val: DataSet) -> tuple[str, ...]:
    """One sentence about a given validation part that leaks, or none."""
    if not found:
        return ()
    first = {leak.why: leak for leak in reversed(found)}
    reasons = ", ".join(
        f"{why.plural} ({count}, such as {short_name(first[why].val.path.name)} and"
        f" {short_name(first[why].train.path.name)})"
        for why, count in sorted(Counter(leak.why for leak in found).items())
    )
    return (
        f"{len(found)} of {len(val.images)} validation images share a photograph or a scene with training, and the AP"
        f" will be too good: {reasons}",
    )
