"""The directories of a TIFF: one for each picture that it holds, with its size."""

import struct
from typing import NamedTuple

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""how a TIFF or BigTIFF begins, in either order of bytes"""
_WIDTH, _HEIGHT, _REDUCED = 0x0100, 0x0101, 0x00FE
_KINDS = ("", "B", "", "H", "I")
"""by the number of the kind, those that a size may have; in BigTIFF, too"""


class _Directory(NamedTuple):
    tags: dict[int, int]
    """of the tags that are used here; of one that is there twice, the larger value"""
    following: int
    """where the next directory begins; 0: this is the last"""


def tiff_hw(content: bytes) -> tuple[int, int] | None:
    """Height and width of the first picture, which is what OpenCV reads; None where they are not stated.

    Raises struct.error, IndexError, ValueError or OverflowError for a header that breaks off or is damaged.
    """
    tags = _directory(content, None).tags
    sides = tags.get(_HEIGHT, 0), tags.get(_WIDTH, 0)
    return sides if all(sides) else None


def has_further_page(content: bytes) -> bool:
    """Whether a second picture follows that is neither a reduced copy of the first nor a mask. Raises as `tiff_hw`."""
    following = _directory(content, None).following
    return bool(following) and not _directory(content, following).tags.get(_REDUCED)


def _directory(content: bytes, start: int | None) -> _Directory:
    """The one at this place; None: the first."""
    order = "<" if content[:2] == b"II" else ">"
    big = b"+" in content[2:4]
    address, number, entry, at = ("Q", "Q", 20, 12) if big else ("I", "H", 12, 8)
    if start is None:
        (start,) = struct.unpack_from(order + address, content, 8 if big else 4)
    (count,) = struct.unpack_from(order + number, content, start)
    first = start + struct.calcsize(order + number)
    end = first + min(count, len(content) // entry) * entry
    tags: dict[int, int] = {}
    for place in range(first, end, entry):
        tag, kind = struct.unpack_from(f"{order}HH", content, place)
        if tag in (_WIDTH, _HEIGHT, _REDUCED):
            (value,) = struct.unpack_from(f"{order}{_KINDS[kind]}", content, place + at)
            tags[tag] = max(tags.get(tag, 0), value)
    missing = end + struct.calcsize(order + address) > len(content)
    following = 0 if missing else struct.unpack_from(order + address, content, end)[0]
    return _Directory(tags, following)
