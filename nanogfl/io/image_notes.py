"""Notes on what an image file holds that its decoded frame does not: further pages, transparency, 16 bits.

A note is "KIND: what came and what to do".
"""

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.io.file_kind import TIFF

LITTLE_RANGE = "16-bit image of little range"
TRANSPARENT = "transparent image"
FIRST_OF_SEVERAL = "first picture of several"

_LARGEST_OF_14_BITS = (1 << 14) - 1
"""Cameras of 10, 12 or 14 bits leave the upper bits 0: at most 64 of 256 levels remain in 8 bits."""
_LITTLE = 1 / 16
"""share of the 16-bit range: 16 of 256 levels remain. Thermal counts may lie anywhere in it."""
_TAILS = (0.1, 99.9)
"""percentiles between which the range is measured, so that single dead or hot pixels do not count"""
_DULL = 80
"""levels of 256; an image that spans more uses more than 14 of its 16 bits"""
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_REDUCED = 0x00FE
"""TIFF tag NewSubfileType: not 0 for a thumbnail or a mask"""


def image_notes(content: bytes, frame: NDArray[np.uint8]) -> tuple[str, ...]:
    """The notes on an image file's bytes and the frame (H, W, 3) that was decoded from them."""
    if content[:3] == _JPEG:
        return ()
    found = []
    dull, alpha = _is_dull(frame), _may_have_alpha(content)
    if (dull or alpha) and (whole := _unchanged(content)) is not None:
        if dull and whole.dtype == np.uint16:
            found += _of_range(whole if whole.ndim == 2 else whole[:, :, :3])
        if alpha and whole.ndim == 3 and whole.shape[2] == 4 and (whole[:, :, 3] < np.iinfo(whole.dtype).max).any():
            found.append(
                f"{TRANSPARENT}: transparency is not read, and the colours below it are seen: save it on the intended"
                " background"
            )
    if _has_further(content):
        found.append(f"{FIRST_OF_SEVERAL}: the other pages or frames of the file are not read: save each as an image")
    return tuple(found)


def _unchanged(content: bytes) -> NDArray[Any] | None:
    """The image with all bits and channels; None if OpenCV cannot decode it so."""
    try:
        return cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def _of_range(values: NDArray[np.uint16]) -> list[str]:
    step = max(1, min(values.shape[:2]) // 1000)
    low, high = (round(float(value)) for value in np.percentile(values[::step, ::step], _TAILS))
    share = (high - low) / 65535
    if low == high or (high > _LARGEST_OF_14_BITS and share > _LITTLE):
        return []
    levels = high // 256 - low // 256 + 1
    return [
        f"{LITTLE_RANGE}: its values {low} to {high} are {share:.1%} of the range of 16 bits and become {levels} of 256"
        " grey levels: stretch all images to 8 bits once, all in the same way, also on the device"
    ]


def _is_dull(frame: NDArray[np.uint8]) -> bool:
    step = max(1, min(frame.shape[:2]) // 64)
    up_to = np.bincount(frame[::step, ::step].reshape(-1)).cumsum()
    low, high = np.searchsorted(up_to, (0.01 * up_to[-1], 0.99 * up_to[-1]))  # without single pixels
    return bool(high - low <= _DULL)


def _may_have_alpha(content: bytes) -> bool:
    if content[:8] == _PNG:
        return content[25] in (4, 6) or b"tRNS" in content[: content.find(b"IDAT")]
    if content[:4] == b"RIFF":
        return (content[12:16] == b"VP8X" and bool(content[20] & 0x10)) or (
            content[12:16] == b"VP8L" and bool(content[24] & 0x10)
        )
    return content[:4] in TIFF or content[:4] == b"GIF8" or content[4:8] == b"ftyp"


def _has_further(content: bytes) -> bool:
    """Whether the file is an animation, or has several pages."""
    if content[:4] in TIFF:
        try:
            return _has_further_page(content)
        except (struct.error, OverflowError):  # a damaged directory behind the first picture
            return False
    if content[:8] == _PNG:
        return b"acTL" in content[: content.find(b"IDAT")]
    if content[:4] == b"RIFF":
        return content[12:16] == b"VP8X" and bool(content[20] & 0b10)
    if content[:4] == b"GIF8":
        try:
            return len(cv2.imdecodeanimation(np.frombuffer(content, dtype=np.uint8), 0, 2)[1].frames) > 1
        except cv2.error:  # damaged behind the first picture
            return False
    return content[4:12] == b"ftypavis"


def _has_further_page(content: bytes) -> bool:
    """Whether a second picture follows in a TIFF that is neither a thumbnail nor a mask. Raises struct.error and
    OverflowError for a damaged directory. Pillow could tell, but a device does not have it."""
    order = "<" if content[:2] == b"II" else ">"
    address, number, entry, at = ("Q", "Q", 20, 8) if b"+" in content[2:4] else ("I", "H", 12, 4)

    def directory(start: int) -> tuple[range, int]:
        """The places of its entries, and the place behind them."""
        first = start + struct.calcsize(order + number)
        end = first + struct.unpack_from(order + number, content, start)[0] * entry
        return range(first, min(end, len(content)), entry), end

    (start,) = struct.unpack_from(order + address, content, at)
    (following,) = struct.unpack_from(order + address, content, directory(start)[1])
    if not following:
        return False
    tags = [
        struct.unpack_from(f"{order}HH{struct.calcsize(order + address)}xI", content, place)
        for place in directory(following)[0]
    ]
    return not any(tag == _REDUCED and value for tag, _, value in tags)
