"""Which groups of images are for validation: each class by its share, after Sechidis, Tsoumakas and Vlahavas (2011,
On the Stratification of Multi-Label Data): rarest class first, each group to the side that lacks more of it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Weight(NamedTuple):
    """What a group adds to a side."""

    images: int
    labels: NDArray[np.int64]
    """(K,) its classes, rising; C for images without objects"""
    counts: NDArray[np.int64]
    """(K,) images that hold each of them"""


def choose_groups(groups: Sequence[Weight], classes: int, share: float) -> NDArray[np.bool_]:
    """(n,) whether a group is for validation. Groups earlier in the order are taken earlier, where several would do.

    A class of two groups or more is on both sides, and one of a single group in training, as far as both sides can
    have them: validation takes at most half of the images, and both sides get at least one group of two or more.
    """
    chosen = _Choice(groups, classes, share)
    for label in chosen.rarest_first:
        chosen.divide(label)
    for label in chosen.rarest_first:
        chosen.rescue(label)
    chosen.fill()
    return chosen.val


class _Choice:
    def __init__(self, groups: Sequence[Weight], classes: int, share: float) -> None:
        self.groups = groups
        self.val = np.zeros(len(groups), np.bool_)
        self.images = sum(group.images for group in groups)
        self.val_images = 0
        self.total = np.zeros(classes + 1, np.int64)
        """(C + 1,) images of each class"""
        self.in_train = np.zeros(classes + 1, np.int64)
        """(C + 1,) groups of each class that are not for validation"""
        self.members: list[list[int]] = [[] for _ in range(classes + 1)]
        for number, group in enumerate(groups):
            self.total[group.labels] += group.counts
            self.in_train[group.labels] += 1
            for label in group.labels:
                self.members[label].append(number)
        for rows in self.members:
            rows.sort(key=lambda number: -groups[number].images)  # stable; large ones are placed while there is room
        several = self.in_train > 1
        self.wanted = np.where(several, np.maximum(share * self.total, 1), share * self.total)
        self.wanted_images = max(1.0, share * self.images)
        self.got = np.zeros(classes + 1, np.int64)
        self.placed = np.zeros(classes + 1, np.int64)
        """(C + 1,) images of each class in groups that have been decided"""
        self.decided = np.zeros(len(groups), np.bool_)
        self.rarest_first = [int(label) for label in np.argsort(self.in_train, kind="stable") if self.total[label]]

    def divide(self, label: int) -> None:
        for number in self.members[label]:
            if self.decided[number]:
                continue
            group = self.groups[number]
            mine = group.counts[np.searchsorted(group.labels, label)]
            lacks = self.wanted[label] - self.got[label]
            train_lacks = self.total[label] - self.wanted[label] - (self.placed[label] - self.got[label])
            self.decided[number] = True
            self.placed[group.labels] += group.counts
            if lacks >= max(train_lacks, mine / 2) and self._may_take(number):
                self._take(number)

    def rescue(self, label: int) -> None:
        """Gives validation its smallest group of a class that it lacks."""
        if self.got[label] or self.in_train[label] < 2:
            return
        number = next((number for number in reversed(self.members[label]) if self._may_take(number)), None)
        if number is not None:
            self._take(number)

    def fill(self) -> None:
        """Up to the wanted number of images, the smallest groups first; and anything rather than nothing."""
        order = sorted(range(len(self.groups)), key=lambda number: self.groups[number].images)
        for number in order:
            enough = self.val_images + self.groups[number].images / 2 > self.wanted_images
            if not enough and not self.val[number] and self._may_take(number):
                self._take(number)
        if not self.val_images and len(order) > 1:
            self._take(order[0])

    def _may_take(self, number: int) -> bool:
        """Whether training keeps another group of each of its classes, and half of the images."""
        group = self.groups[number]
        fits = 2 * (self.val_images + group.images) <= self.images
        return not self.val[number] and fits and bool((self.in_train[group.labels] > 1).all())

    def _take(self, number: int) -> None:
        group = self.groups[number]
        self.val[number] = True
        self.val_images += group.images
        self.got[group.labels] += group.counts
        self.in_train[group.labels] -= 1
