"""Reading an image file into a frame: uint8 (H, W, 3), BGR, upright."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.errors import UserError
from nanogfl.contract.image_header import claimed_hw
from nanogfl.contract.read_file import read_bounded

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""What counts as an image when a folder is listed."""
MOST_PIXELS = 200_000_000
"""of an image: a phone's 200 megapixels. A JPEG of 300 bytes can claim 10^9, for which OpenCV takes 6 GB before it
finds that they are not there"""
_MOST_BYTES = 2_000_000_000
"""of an image file: so many pixels of three 16-bit channels, uncompressed, take 1.2"""


def read_frame(path: Path | str) -> NDArray[np.uint8]:
    """The image as uint8 (H, W, 3) BGR, as `decode_frame` has it. Raises UserError for a file that cannot be read."""
    content = read_content(path)
    try:
        return decode_frame(content)
    except UserError as error:
        raise UserError(f"{path} {error}") from None


def read_content(path: Path | str) -> bytes:
    """The file's bytes. Raises UserError for a missing file, a folder, and one without permission."""
    return read_bounded(path, "image", _MOST_BYTES, "check the path")


def decode_frame(content: bytes) -> NDArray[np.uint8]:
    """An image file's bytes as uint8 (H, W, 3) BGR. The content decides the format, not the file's name.

    Grey, palette and CMYK become BGR; alpha is dropped, not blended; 16 bits become 8; an EXIF rotation is applied.
    Raises UserError, a sentence without its subject (the caller names the file), for what is no image, for one of more
    than MOST_PIXELS and for one that breaks off. (cv2.imread would return the latter half grey; imdecode refuses it.
    Neither sees a file that breaks off and was then closed with an end marker.)
    """
    claimed = claimed_hw(content)  # before decoding: that takes the memory first
    if claimed is not None and claimed[0] * claimed[1] > MOST_PIXELS:
        raise UserError(
            f"claims {claimed[1]} x {claimed[0]} pixels in {len(content)} bytes, and at most {MOST_PIXELS:,} are read:"
            " cut it into parts, or replace or remove it"
        )
    try:
        # what has no claim is not decoded either: OpenCV would guess its size from who knows where
        frame = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR) if claimed else None
    except cv2.error:  # OpenCV has limits of its own, or there is not the memory
        frame = None
    if frame is None:
        raise UserError(
            f"is not an image that OpenCV can decode ({len(content)} bytes: damaged, broken off or of another kind):"
            " replace or remove it"
        )
    return np.asarray(frame, dtype=np.uint8)
