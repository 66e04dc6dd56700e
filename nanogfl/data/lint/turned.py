"""Sizes that are not the annotated ones, and images that EXIF turns: whether their boxes were drawn on what is read."""

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.dataset import ImageRecord
from nanogfl.data.lint.finding import Kind, Split
from nanogfl.data.lint.images import Looks
from nanogfl.data.readers.validate import EDGE_TOLERANCE

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
    "they are read turned, as EXIF says, and left out: their boxes fit the picture as stored only, so remove the"
    " orientation from the files",
)
SIZE_SWAPPED = Kind(
    "error",
    "exif-size-swapped",
    "turned images whose width and height are swapped in the annotations",
    "they are read turned, as EXIF says, and left out: their boxes fit the turned picture only, so swap the width and"
    " height of these images in the annotations",
)
SIZE_UNCLEAR = Kind(
    "error",
    "exif-size-unclear",
    "turned images whose annotations state the size as stored",
    "they are read turned, as EXIF says, and left out; no box tells on which picture it was drawn, so look: where they"
    " fit, swap width and height in the annotations; where not, remove the orientation from the files",
)
UNCLEAR = Kind(
    "warning",
    "exif-unclear",
    "images turned by EXIF, which their size does not show",
    "they are read turned: look whether the boxes fit; if not, remove the orientation from the files",
)
UNSTATED = Kind(
    "warning",
    "exif-unstated",
    "images turned by EXIF, whose annotations state no size",
    "they are read turned, and it cannot be told whether the boxes were drawn so: look at these pictures; where the"
    " boxes do not fit, the tool ignored EXIF: remove the orientation from the files",
)
UPRIGHT = Kind(
    "note",
    "exif-turned",
    "turned images annotated upright",
    "nothing to do: they are read turned, as EXIF says, and their size fits; another program may not turn them",
)


def sizes_and_turns(split: Split, look: Looks) -> list[Kind | None]:
    """What is wrong with the size or the turn of each of a split's images; None: nothing. `look`: at these."""
    swapped = _swapped(split, look)
    kinds: list[Kind | None] = []
    for number, image in enumerate(split.dataset.images):
        hw, stored = _hw(look.hw[number]), _hw(look.stored_hw[number])
        kinds.append(swapped if _is_as_stored(image, hw, stored) else _fit(image, hw, stored))
    return kinds


def _hw(row: NDArray[np.int64]) -> tuple[int, int]:
    height, width = row.tolist()
    return height, width


def _is_as_stored(image: ImageRecord, hw: tuple[int, int], stored: tuple[int, int]) -> bool:
    """Whether the annotated size is that of the stored picture and not of the one that is read."""
    return image.hw == stored != hw


def _fit(image: ImageRecord, hw: tuple[int, int], stored: tuple[int, int]) -> Kind | None:
    """How any other image fits its annotation, read with this height and width; None: it does."""
    if hw != image.hw:
        return OTHER_SIZE
    if stored == (0, 0):
        return None
    if image.measured:
        return UNSTATED
    return UPRIGHT if stored != hw else UNCLEAR


def _swapped(split: Split, look: Looks) -> Kind:
    """What is wrong with a split's turned images that state the stored size: the boxes tell of an image that fit only
    one of its two pictures. One tool wrote them all, so that one image tells of the others."""
    only = set()
    for number, image in enumerate(split.dataset.images):
        hw, stored = _hw(look.hw[number]), _hw(look.stored_hw[number])
        if _is_as_stored(image, hw, stored) and _reaches_no_further(image, stored) != _reaches_no_further(image, hw):
            only.add(AS_STORED if _reaches_no_further(image, stored) else SIZE_SWAPPED)
    return only.pop() if len(only) == 1 else SIZE_UNCLEAR


def _reaches_no_further(image: ImageRecord, hw: tuple[int, int]) -> bool:
    return all(reach <= side + EDGE_TOLERANCE for reach, side in zip(image.reach_hw, hw, strict=True))
