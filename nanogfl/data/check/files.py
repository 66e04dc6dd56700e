"""What is wrong with image files: unreadable, of another size than annotated, turned, or there twice."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from nanogfl.data.check.finding import Example, Finding, Kind, Split
from nanogfl.data.check.images import Looks
from nanogfl.data.check.near_duplicates import near_duplicates
from nanogfl.data.coco import ImageRecord

SWAPS_SIDES = frozenset({5, 6, 7, 8})
"""EXIF orientations under which height and width change places; 2 to 4 mirror or turn by 180 degrees"""

UNREADABLE = Kind("error", "unreadable-images", "images cannot be read", "replace or remove the files")
OTHER_SIZE = Kind(
    "error",
    "other-size",
    "images of another size than annotated",
    "training leaves them out: was the file replaced or resized? correct it, or width, height and the boxes",
)
AS_STORED = Kind(
    "error",
    "exif-as-stored",
    "turned images annotated as stored",
    "they are read turned, as EXIF says, and left out: remove the orientation from the files, then the boxes fit",
)
UNCLEAR = Kind(
    "warning",
    "exif-unclear",
    "images turned by EXIF, which their size does not show",
    "they are read turned: look whether the boxes fit; if not, remove the orientation from the files",
)
UPRIGHT = Kind(
    "note",
    "exif-turned",
    "turned images annotated upright",
    "nothing to do: they are read turned, as EXIF says, and their size fits; another program may not turn them",
)
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
    """Unreadable files, other sizes than annotated, EXIF orientations. `looks`: at each split's images."""
    found: dict[Kind, list[Example]] = defaultdict(list)
    for split, look in zip(splits, looks, strict=True):
        for number, image in enumerate(split.dataset.images):
            name, (height, width) = image.path.name, look.hw[number].tolist()
            if complaint := look.complaints[number]:
                text = complaint.removeprefix(f"{image.path} ").removesuffix(": replace or remove it")
                found[UNREADABLE].append(Example(split.name, f"{name} {text}"))
                continue
            way = int(look.orientation[number])
            kind = _fit(image, (height, width), way)
            if kind is not None:
                text = f"{name}, {width} x {height}" + (f" by its EXIF orientation {way}" if way != 1 else "")
                text += f", annotated as {image.hw[1]} x {image.hw[0]}" if (height, width) != image.hw else ""
                found[kind].append(Example(split.name, text, image))
    return [finding for kind, examples in found.items() for finding in kind.found(examples)]


def _fit(image: ImageRecord, hw: tuple[int, int], way: int) -> Kind | None:
    """How an image that is read with this height, width and orientation fits its annotation; None: it does."""
    if hw == image.hw:
        if way == 1:
            return None
        return UPRIGHT if way in SWAPS_SIDES and hw[0] != hw[1] else UNCLEAR
    return AS_STORED if way in SWAPS_SIDES and hw[::-1] == image.hw else OTHER_SIZE


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
