"""Makes a validation part: the same for the same files, wherever they lie and in whatever order they are listed."""

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.cache.ahead import Track
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.data.split.fingerprints import Fingerprints, read_fingerprints
from nanogfl.data.split.groups import PIECES, Group, components, cut, group_rows
from nanogfl.data.split.links import Link, Why, find_links
from nanogfl.data.split.names import natural_order, read_name, relative_names, short_name
from nanogfl.data.split.stratify import Weight, choose_groups
from nanogfl.errors import UserError

SHARE = 0.2
MOST_SHARE = 0.5
ENOUGH = 1000
"""images of a validation part: more take time at every evaluation and tell little more"""
LEAST_SHARE = 0.02
_NAMED = 5
"""classes that a remark names"""


class Split(NamedTuple):
    train: tuple[int, ...]
    """ids of the images, rising"""
    val: tuple[int, ...]
    remarks: tuple[str, ...]
    """what was decided and guessed, a sentence each"""


def default_share(images: int) -> float:
    """A fifth, and of more than 5,000 images 1,000, but no less than 2 %."""
    return min(SHARE, max(ENOUGH / max(images, 1), LEAST_SHARE))


def make_split(
    data: DataSet,
    *,
    share: float | None = None,
    track: Track = lambda results, _: results,
    prints: Fingerprints | None = None,
) -> Split:
    """A validation part of about `share` of the images, without a photograph or scene that the rest has, too.

    Together stay: equal files; augmented copies by their names (Roboflow's NAME_jpg.rf.HASH, NAME_flip, NAME_aug1);
    pictures that look nearly alike, also mirrored or turned by quarters; neighbours in a numbered series that look
    alike; frames whose name is that of a video. Where groups are so large that they make up neither half nor twice the
    share of all images, or of a class, one is cut into pieces, and a remark says so. Each class has its share
    (`choose_groups`).

    The names of the files decide, not their order, ids or folder. The images are read once (`track` may show
    progress), unless `prints` holds what is known of them, in their order. Images that cannot be read are compared by
    name only.

    Raises UserError for fewer than two images, and for a share outside 0 .. 0.5.
    """
    if len(data.images) < 2:
        raise UserError(
            f"{data.name}: a validation part is made of some of the images, and there is only {len(data.images)}: add"
            " images, or give a validation part"
        )
    share = default_share(len(data.images)) if share is None else share
    if not 0 < share <= MOST_SHARE:
        raise UserError(f"the share of images for validation must be above 0 and at most {MOST_SHARE}, got {share:g}")
    prints = prints or read_fingerprints(data.images, track)
    names = relative_names([image.path for image in data.images])
    order = sorted(range(len(names)), key=lambda row: (natural_order(names[row]), names[row]))
    names, images = [names[row] for row in order], [data.images[row] for row in order]
    prints = Fingerprints([prints.digests[row] for row in order], prints.hashes[order], prints.thumbnails[order])
    links = list(find_links([read_name(name) for name in names], prints))
    labels = [_labels(image, len(data.classes)) for image in images]
    groups = group_rows(len(images), links)
    remarks = _describe_groups(groups, links, names)
    if unread := prints.digests.count(b""):
        remarks.append(f"{unread} images cannot be read: they are compared by their names only")
    cuts = []
    while (whole := _too_large(groups, labels, links, share)) is not None:
        parts = cut(whole, links)
        groups = [*(group for group in groups if group is not whole), *parts]
        cuts.append(f"{len(whole.rows)} images ({short_name(names[whole.rows[0]])} ...) into {len(parts)}")
    if cuts:
        remarks.append(
            f"without cutting a group no such part exists: cut, in the order of the names, {shorten_list(cuts)}; at the"
            " cuts both sides have pictures of one scene, and the AP will be too good"
        )
    groups.sort(key=lambda group: min(_key(names[row]) for row in group.rows))
    val = choose_groups([_weigh(group, labels) for group in groups], len(data.classes), share)
    chosen = {row for group, taken in zip(groups, val, strict=True) if taken for row in group.rows}
    first = f"{len(chosen)} of {len(images)} images ({len(chosen) / len(images):.0%}) are set aside for validation"
    sides = [sorted(image.id for row, image in enumerate(images) if (row in chosen) == side) for side in (False, True)]
    return Split(
        tuple(sides[0]),
        tuple(sides[1]),
        (f"{first}, chosen by their names and classes", *remarks, *_describe_classes(data, set(sides[1]))),
    )


def _too_large(
    groups: Sequence[Group], labels: Sequence[NDArray[np.int64]], links: Sequence[Link], share: float
) -> Group | None:
    """A group that has to be cut, because groups make up half to twice the share neither of all images nor of a class
    of ten photographs or more."""
    count = sum(len(group.rows) for group in groups)
    least, most = max(1.0, share * count / 2), max(1.0, min(2 * share, MOST_SHARE) * count)
    sizes = accumulate(sorted(len(group.rows) for group in groups))
    largest = max(groups, key=lambda group: len(group.rows))
    if len(largest.rows) > 1 and not any(least <= size <= most for size in sizes):
        return largest
    held: dict[int, list[tuple[int, Group]]] = {}
    for group in groups:
        for label, images in Counter(int(label) for row in group.rows for label in labels[row]).items():
            held.setdefault(label, []).append((images, group))
    for label, holding in sorted(held.items()):
        fewest, group = min(holding, key=lambda pair: pair[0])
        if fewest < PIECES or fewest <= 2 * share * sum(images for images, _ in holding):
            continue
        rows = {row for row in group.rows if label in labels[row]}
        copies = [link for link in links if link.why <= Why.NAME and {link.first, link.second} <= rows]
        if len(components(sorted(rows), copies)) >= PIECES:
            return group
    return None


def _labels(image: ImageRecord, classes: int) -> NDArray[np.int64]:
    """Its classes, rising; `classes` for an image without objects."""
    found = np.unique(image.labels[~image.crowd])
    return found if len(found) else np.array([classes])


def _weigh(group: Group, labels: Sequence[NDArray[np.int64]]) -> Weight:
    found, counts = np.unique(np.concatenate([labels[row] for row in group.rows]), return_counts=True)
    return Weight(len(group.rows), found, counts)


def _key(name: str) -> bytes:
    """An order by the file's name that has nothing to do with the alphabet."""
    return blake2b(name.rpartition("/")[2].encode("utf-8", "surrogateescape"), digest_size=8).digest()


def _describe_groups(groups: Sequence[Group], links: Sequence[Link], names: Sequence[str]) -> list[str]:
    several = [group for group in groups if len(group.rows) > 1]
    if not several:
        return []
    examples = {link.why: (link.first, link.second) for link in reversed(links)}
    reasons = (
        f"{why.plural} ({' and '.join(short_name(names[row]) for row in rows)})"
        for why, rows in sorted(examples.items())
    )
    count = sum(len(group.rows) for group in several)
    groups_text = f"{len(several)} groups" if len(several) > 1 else "1 group"
    return [f"{count} images stay together on one side, in {groups_text}: {', '.join(reasons)}"]


def _describe_classes(data: DataSet, val: set[int]) -> list[str]:
    """The classes that a side lacks."""
    held: dict[bool, set[int]] = {False: set(), True: set()}
    for image in data.images:
        held[image.id in val] |= set(image.labels[~image.crowd].tolist())
    remarks = []
    for side, name in ((True, "validation"), (False, "training")):
        missing = sorted(held[not side] - held[side])
        if missing:
            remarks.append(f"no image for {name}: {shorten_list([data.classes[label] for label in missing])}")
    return remarks


def shorten_list(items: Sequence[str]) -> str:
    """The first five, and how many more there are."""
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more
