"""The size of an image file without decoding its pixels. Uses Pillow, which detection does not need."""

from pathlib import Path

import cv2
import numpy as np

from nanogfl.io.read_file import is_file

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
_PROBE = cv2.imencode(".jpg", np.zeros((1, 2), dtype=np.uint8))[1].tobytes()
_LONGEST_SEGMENT = 65_533
"""bytes in a segment of a JPEG"""


def header_hw(path: Path) -> tuple[int, int] | None:
    """Height and width of the frame that `read_frame` returns, which may be turned by its EXIF orientation.

    None if only decoding can tell: formats other than JPEG, PNG, BMP and WebP; animations, PNG and WebP with EXIF;
    damaged headers; anything but a regular file; or if Pillow is not installed. Pillow warns of large and of damaged
    files: callers silence that.
    """
    try:
        from PIL import Image
    except ImportError:
        return None
    if not is_file(path):  # opening a pipe would wait for its writer
        return None
    try:
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            exif: bytes = image.info.get("exif", b"")
            if image.format in ("PNG", "WEBP"):
                file.seek(0)  # a PNG may have its EXIF behind the pixels
                if exif or getattr(image, "is_animated", False) or (image.format == "PNG" and b"eXIf" in file.read()):
                    return None
            elif len(exif) > _LONGEST_SEGMENT:  # of several segments, of which OpenCV obeys the first
                return None
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return (width, height) if exif and _swaps_sides(exif) else (height, width)


def _swaps_sides(exif: bytes) -> bool:
    """Whether OpenCV turns a JPEG with this EXIF by a quarter. OpenCV itself is asked, with a picture of 2 x 1 pixels:
    every other parser disagrees with it on some damaged file."""
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    frame = cv2.imdecode(np.frombuffer(_PROBE[:2] + segment + _PROBE[2:], dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    return frame is not None and frame.shape[0] > frame.shape[1]
