"""Reading an image file into a frame: uint8 (H, W, 3), BGR, upright."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""What counts as an image when a folder is listed."""


def read_frame(path: Path | str) -> NDArray[np.uint8]:
    """The image as uint8 (H, W, 3) BGR, as `decode_frame` has it. Raises UserError for a file that cannot be read."""
    content = read_content(path)
    try:
        return decode_frame(content)
    except UserError as error:
        raise UserError(f"{path} {error}") from None


def read_content(path: Path | str) -> bytes:
    """The file's bytes. Raises UserError for a missing file, a folder, and one without permission."""
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"image {path} does not exist: check the path") from None
    except OSError as error:
        raise UserError(f"image {path} cannot be read ({error.strerror}): check the path and its permissions") from None


def decode_frame(content: bytes) -> NDArray[np.uint8]:
    """An image file's bytes as uint8 (H, W, 3) BGR. The content decides the format, not the file's name.

    Grey, palette and CMYK become BGR; alpha is dropped, not blended; 16 bits become 8; an EXIF rotation is applied.
    Raises UserError, a sentence without its subject (the caller names the file), for what is no image and for one
    that breaks off. (cv2.imread would return the latter half grey; imdecode refuses it. Neither sees a file that
    breaks off and was then closed with an end marker.)
    """
    try:
        frame = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error:  # a header that claims more pixels than OpenCV takes, or than there is memory
        frame = None
    if frame is None:
        raise UserError(
            f"is not an image that OpenCV can decode ({len(content)} bytes: damaged, broken off or of another kind):"
            " replace or remove it"
        )
    return np.asarray(frame, dtype=np.uint8)
