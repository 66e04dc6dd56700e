"""How an image file says that it is to be turned: the EXIF orientation."""

import struct

import cv2
import numpy as np

ORIENTATION = 0x0112
"""the tag's number; EXIF 2.32, sec. 4.6.4"""
_MARKS = (b"Exif", b"eXIf", b"EXIF")  # of JPEG, PNG and WebP
_SHORT = 3


def orientation(content: bytes) -> int:
    """1 to 8 of an image file's bytes, as `contract.frames.decode_frame` applies it; 1, upright, where it says
    nothing."""
    if content[:4] in (b"II*\0", b"MM\0*"):  # TIFF, which EXIF is written in, too
        return _read_tag(content)
    if not any(mark in content for mark in _MARKS):
        return 1
    # the pixels come along: as few as OpenCV gives
    encoded = np.frombuffer(content, dtype=np.uint8)
    _, kinds, blocks = cv2.imdecodeWithMetadata(encoded, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    for kind, block in zip(kinds, blocks, strict=True):
        if kind == cv2.IMAGE_METADATA_EXIF:
            return _read_tag(np.asarray(block).tobytes())
    return 1


def _read_tag(tiff: bytes) -> int:
    """From a TIFF header's first directory."""
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "4xI", tiff)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * entry)
            if tag == ORIENTATION and kind == _SHORT:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:  # broken off, as OpenCV sees it: no orientation
        return 1
    return 1
