"""What a user should know of an image that can be read: what of its file is not in the frame.

A note is "KIND: what came and what to do". The kinds are counted and found by their names.
"""

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.io.tiff_header import TIFF, has_further_page

LITTLE_RANGE = "16-bit image of little range"
TRANSPARENT = "transparent image"
FIRST_OF_SEVERAL = "first picture of several"

_LARGEST_OF_14_BITS = (1 << 14) - 1
"""of cameras whose upper two, four or six bits stay 0: at most 64 of 256 levels are left"""
_LITTLE = 1 / 16
"""share of the range of 16 bits: 16 of 256 levels are left; thermal counts lie anywhere"""
_TAILS = (0.1, 99.9)
"""per cent of the pixels between which the range is measured: single dead or hot pixels do not count"""
_DULL = 80
"""levels of 256 in 8 bits; an image that spans more uses more than 14 of its 16 bits"""
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def image_notes(content: bytes, frame: NDArray[np.uint8]) -> tuple[str, ...]:
    """Of an image file's bytes and the frame (h, w, 3) that was decoded from them."""
    if content[:3] == _JPEG:
        return ()
    found = []
    dull, alpha = _is_dull(frame), _may_have_alpha(content)
    if (dull or alpha) and (whole := _unchanged(content)) is not None:
        if dull and whole.dtype == np.uint16:
            found += _of_range(whole if whole.ndim == 2 else whole[:, :, :3])
        if alpha and whole.ndim == 3 and whole.shape[2] == 4 and (whole[:, :, 3] < np.iinfo(whole.dtype).max).any():
            found.append(
                f"{TRANSPARENT}: transparency is not read, and whatever colours the file holds there are seen: save it"
                " on the background that is meant"
            )
    if _has_further(content):
        found.append(f"{FIRST_OF_SEVERAL}: the other pages or frames of the file are not read: save each as an image")
    return tuple(found)


def _unchanged(content: bytes) -> NDArray[Any] | None:
    """With all of its bits and channels; None where only the frame can be decoded, or there is not the memory."""
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
        " grey levels: stretch all images to 8 bits once, in one and the same way, those of the device, too"
    ]


def _is_dull(frame: NDArray[np.uint8]) -> bool:
    step = max(1, min(frame.shape[:2]) // 64)
    up_to = np.bincount(frame[::step, ::step].reshape(-1)).cumsum()
    low, high = np.searchsorted(up_to, (0.01 * up_to[-1], 0.99 * up_to[-1]))  # here, too, without single pixels
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
    """Whether it is the first of several pages, or of an animation."""
    if content[:4] in TIFF:
        try:
            return has_further_page(content)
        except (struct.error, IndexError, ValueError, OverflowError):  # a damaged directory behind the first picture
            return False
    if content[:8] == _PNG:
        return b"acTL" in content[: content.find(b"IDAT")]
    if content[:4] == b"RIFF":
        return content[12:16] == b"VP8X" and bool(content[20] & 0b10)
    if content[:4] == b"GIF8":
        try:
            return len(cv2.imdecodeanimation(np.frombuffer(content, dtype=np.uint8), 0, 2)[1].frames) > 1
        except cv2.error:  # what follows the first picture is damaged
            return False
    return content[4:12] == b"ftypavis"
