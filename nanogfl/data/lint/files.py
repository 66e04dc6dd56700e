"""What is wrong with image files: unreadable, read in part, of another size than annotated, turned, there twice."""

import os
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from nanogfl.data.lint.finding import Example, Finding, Kind, Split
from nanogfl.data.lint.images import Looks
from nanogfl.data.lint.near_duplicates import near_duplicates
from nanogfl.data.lint.turned import sizes_and_turns
from nanogfl.io.image_notes import FIRST_OF_SEVERAL, LITTLE_RANGE, TRANSPARENT

UNREADABLE = Kind("error", "unreadable-images", "images cannot be read", "replace or remove the files")
NOTED = {
    LITTLE_RANGE: Kind(
        "warning",
        "little-range",
        "16-bit images of little range",
        "nearly black or of few grey levels to the network: stretch all images to 8 bits once, in one and the same way,"
        " those of the device, too",
    ),
    TRANSPARENT: Kind(
        "note",
        "transparent-images",
        "images with transparent pixels",
        "transparency is not read, the colours behind it are: save them on the background that is meant",
    ),
    FIRST_OF_SEVERAL: Kind(
        "warning",
        "first-of-several",
        "files with several pages or frames",
        "only the first is read: save each as an image of its own, or remove the others",
    ),
}
"""by the kind of a note of `image_notes`"""
LEAKED = Kind(
    "error",
    "val-in-train",
    "val images that train holds to the pixel",
    "the AP counts what was learned by heart: remove them from one of the two",
)
NEARLY_LEAKED = Kind(
    "warning",
    "near-duplicates",
    "val images that are nearly a train image",
    "the AP will be too good: keep copies, bursts and frames of one video in one split",
)
COPIES = Kind(
    "warning",
    "copied-images",
    "images that their split holds already",
    "remove one of each two: are they annotated alike?",
)


def check_files(splits: Sequence[Split], looks: Sequence[Looks]) -> list[Finding]:
    """Unreadable files, what is not read of others, other sizes than annotated, EXIF orientations. `looks`: at each
    split's images."""
    found: dict[Kind, list[Example]] = defaultdict(list)
    for split, look in zip(splits, looks, strict=True):
        fits = sizes_and_turns(split, look)
        for number, image in enumerate(split.dataset.images):
            name, (height, width) = image.path.name, look.hw[number].tolist()
            if complaint := look.complaints[number]:
                text = complaint.removeprefix(f"{image.path} ").removesuffix(": replace or remove it")
                found[UNREADABLE].append(Example(split.name, f"{name} {text}"))
                continue
            for note in look.notes[number]:
                kind, _, detail = note.partition(": ")
                found[NOTED[kind]].append(Example(split.name, f"{name}: {detail.partition(':')[0]}", image))
            if (fit := fits[number]) is not None:
                text = f"{name}, {width} x {height}" + (", turned by EXIF" if look.stored_hw[number].any() else "")
                text += f", annotated as {image.hw[1]} x {image.hw[0]}" if (height, width) != image.hw else ""
                found[fit].append(Example(split.name, text, image))
    return [finding for kind, examples in found.items() for finding in kind.found(examples)]


def check_listed(train: Split, val: Split) -> list[Finding]:
    """Files that are listed twice, without opening them; `check_copies` finds these and more."""
    first: dict[str, tuple[Split, int]] = {}
    copies: list[Example] = []
    leaked: list[Example] = []
    for split in (train, val):
        for number, image in enumerate(split.dataset.images):
            other, other_number = first.setdefault(os.path.abspath(image.path), (split, number))
            if other is not split or other_number != number:
                (copies if other is split else leaked).append(_pair(split, number, other, other_number, "is"))
    return [*LEAKED.found(leaked), *COPIES.found(copies)]


def check_copies(train: Split, val: Split, train_looks: Looks, val_looks: Looks) -> list[Finding]:
    """Images that a split holds twice to the pixel, and those of val that train holds or nearly holds."""
    seen = {pixels: number for number, pixels in reversed(list(enumerate(train_looks.pixels))) if pixels}
    copies = [*_copies(train, train_looks), *_copies(val, val_looks)]
    leaked, rest = [], []
    for number, pixels in enumerate(val_looks.pixels):
        if pixels in seen:
            leaked.append(_pair(val, number, train, seen[pixels], "is"))
        else:
            rest.append(number)
    left = np.array(rest, dtype=np.int64)
    pairs = near_duplicates(
        val_looks.hashes[left], val_looks.thumbnails[left], train_looks.hashes, train_looks.thumbnails
    )
    near = [
        _pair(val, rest[pair.image], train, pair.other, "is nearly", f" ({pair.bits} of 64 bits differ)")
        for pair in pairs
    ]
    return [*LEAKED.found(leaked), *NEARLY_LEAKED.found(near), *COPIES.found(copies)]


def _copies(split: Split, looks: Looks) -> list[Example]:
    first: dict[bytes, int] = {}
    return [
        _pair(split, number, split, first[pixels], "is")
        for number, pixels in enumerate(looks.pixels)
        if pixels and first.setdefault(pixels, number) != number
    ]


def _pair(split: Split, number: int, other: Split, other_number: int, relation: str, note: str = "") -> Example:
    image, beside = split.dataset.images[number], other.dataset.images[other_number]
    where = "" if split.name == other.name else f"{other.name} "
    return Example(split.name, f"{image.path.name} {relation} {where}{beside.path.name}{note}", image, (), beside)
