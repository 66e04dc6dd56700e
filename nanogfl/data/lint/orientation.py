"""Whether an image is turned when it is read, by its EXIF orientation or a TIFF's own."""

import cv2
import numpy as np

from nanogfl.io.file_kind import TIFF

_MARKS = (b"Exif", b"eXIf", b"EXIF")  # of JPEG and AVIF, PNG, WebP


def hw_before_turning(content: bytes) -> tuple[int, int] | None:
    """Height and width as stored, of an image file's bytes that `decode_picture` turns or mirrors; None if it does not.

    OpenCV itself is asked, by decoding with and without the orientation."""
    if content[:4] not in TIFF and not any(mark in content for mark in _MARKS):
        return None
    encoded = np.frombuffer(content, dtype=np.uint8)
    small = cv2.IMREAD_REDUCED_GRAYSCALE_8
    turned, stored = (cv2.imdecode(encoded, flags) for flags in (small, small | cv2.IMREAD_IGNORE_ORIENTATION))
    if turned is None or stored is None or np.array_equal(turned, stored):
        return None
    whole = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if whole is None else whole.shape[:2]
