"""Findings about image files: unreadable, not read in full, of another size than annotated, turned by EXIF, copied."""

import os
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.dataset import ImageRecord
from nanogfl.data.lint.finding import Example, Finding, Kind, Split
from nanogfl.data.lint.images import Looks
from nanogfl.data.lint.kinds import KINDS
from nanogfl.data.readers.validate import EDGE_TOLERANCE
from nanogfl.io.image_notes import FIRST_OF_SEVERAL, LITTLE_RANGE, TRANSPARENT

_NOTED = {
    LITTLE_RANGE: KINDS["little-range"],
    TRANSPARENT: KINDS["transparent-images"],
    FIRST_OF_SEVERAL: KINDS["first-of-several"],
}
"""by the kind of a note of `image_notes`"""


def check_files(splits: Sequence[Split], looks: Sequence[Looks]) -> list[Finding]:
    """Files that cannot be read, or not in full, other sizes than annotated, EXIF turns. `looks`: of each split."""
    found: dict[Kind, list[Example]] = defaultdict(list)
    for split, look in zip(splits, looks, strict=True):
        swapped = _swapped(split, look)
        for number, image in enumerate(split.dataset.images):
            name, hw, stored = image.path.name, _hw(look.hw[number]), _hw(look.stored_hw[number])
            if complaint := look.complaints[number]:
                text = complaint.removeprefix(f"{image.path} ").removesuffix(": replace or remove it")
                found[KINDS["unreadable-images"]].append(Example(split.name, f"{name} {text}"))
                continue
            for note in look.notes[number]:
                kind, _, detail = note.partition(": ")
                found[_NOTED[kind]].append(Example(split.name, f"{name}: {detail.partition(':')[0]}", image))
            fit = swapped if _is_as_stored(image, hw, stored) else _fit(image, hw, stored)
            if fit is not None:
                text = f"{name}, {hw[1]} x {hw[0]}" + (", turned by EXIF" if any(stored) else "")
                text += f", annotated as {image.hw[1]} x {image.hw[0]}" if hw != image.hw else ""
                found[fit].append(Example(split.name, text, image))
    return [finding for kind, examples in found.items() for finding in kind.found(examples)]


def _hw(row: NDArray[np.int64]) -> tuple[int, int]:
    height, width = row.tolist()
    return height, width


def _is_as_stored(image: ImageRecord, hw: tuple[int, int], stored: tuple[int, int]) -> bool:
    """Whether the annotated size is that of the stored picture and not of the one that is read."""
    return image.hw == stored != hw


def _fit(image: ImageRecord, hw: tuple[int, int], stored: tuple[int, int]) -> Kind | None:
    """What is wrong with any other image, read with this height and width; None: nothing."""
    if hw != image.hw:
        return KINDS["other-size"]
    if stored == (0, 0):
        return None
    if image.measured:
        return KINDS["exif-unstated"]
    return KINDS["exif-turned"] if stored != hw else KINDS["exif-unclear"]


def _swapped(split: Split, look: Looks) -> Kind:
    """What is wrong with the split's turned images whose stored size is annotated.

    Boxes that fit only one of an image's two pictures tell on which they were drawn. One tool wrote the whole file, so
    that one image tells for the others.
    """
    only = set()
    for number, image in enumerate(split.dataset.images):
        hw, stored = _hw(look.hw[number]), _hw(look.stored_hw[number])
        if _is_as_stored(image, hw, stored) and _reaches_no_further(image, stored) != _reaches_no_further(image, hw):
            only.add(KINDS["exif-as-stored"] if _reaches_no_further(image, stored) else KINDS["exif-size-swapped"])
    return only.pop() if len(only) == 1 else KINDS["exif-size-unclear"]


def _reaches_no_further(image: ImageRecord, hw: tuple[int, int]) -> bool:
    return all(reach <= side + EDGE_TOLERANCE for reach, side in zip(image.reach_hw, hw, strict=True))


def check_listed(train: Split, val: Split) -> list[Finding]:
    """Files that are listed twice. Opens none; `check_copies` and `check_leaks` find these and more."""
    first: dict[str, tuple[Split, int]] = {}
    copies: list[Example] = []
    leaked: list[Example] = []
    for split in (train, val):
        for number, image in enumerate(split.dataset.images):
            other, other_number = first.setdefault(os.path.abspath(image.path), (split, number))
            if other is not split or other_number != number:
                (copies if other is split else leaked).append(_pair(split, number, other, other_number, "is"))
    return [*KINDS["val-in-train"].found(leaked), *KINDS["copied-images"].found(copies)]


def check_copies(splits: Sequence[Split], looks: Sequence[Looks]) -> list[Finding]:
    """Images that a split holds twice to the pixel."""
    copies = [example for split, look in zip(splits, looks, strict=True) for example in _copies(split, look)]
    return KINDS["copied-images"].found(copies)


def _copies(split: Split, looks: Looks) -> list[Example]:
    first: dict[bytes, int] = {}
    return [
        _pair(split, number, split, first[pixels], "is")
        for number, pixels in enumerate(looks.prints.digests)
        if pixels and first.setdefault(pixels, number) != number
    ]


def _pair(split: Split, number: int, other: Split, other_number: int, relation: str) -> Example:
    image, beside = split.dataset.images[number], other.dataset.images[other_number]
    where = "" if split.name == other.name else f"{other.name} "
    return Example(split.name, f"{image.path.name} {relation} {where}{beside.path.name}", image, (), beside)
