"""Reading an image file into a frame: uint8 (H, W, 3), BGR, upright."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.errors import UserError
from nanogfl.io.file_kind import file_kind
from nanogfl.io.image_header import claimed_hw
from nanogfl.io.image_notes import image_notes
from nanogfl.io.read_file import read_bounded
from nanogfl.io.tiff_header import TIFF

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""What counts as an image when a folder is listed."""
MOST_PIXELS = 200_000_000
"""of an image: a phone's 200 megapixels. A JPEG of 300 bytes can claim 10^9, for which OpenCV takes 6 GB before it
finds that they are not there"""
_MOST_BYTES = 2_000_000_000
"""of an image file: so many pixels of three 16-bit channels, uncompressed, take 1.2"""


class Picture(NamedTuple):
    frame: NDArray[np.uint8]
    """(H, W, 3) BGR"""
    notes: tuple[str, ...]
    """what of the file is not in the frame: see `image_notes`"""


def read_frame(path: Path | str) -> NDArray[np.uint8]:
    """The image as uint8 (H, W, 3) BGR, as `decode_picture` has it. Raises UserError for one that cannot be read."""
    return read_picture(path).frame


def read_picture(path: Path | str) -> Picture:
    """Raises UserError for a file that cannot be read."""
    content = read_content(path)
    try:
        return decode_picture(content)
    except UserError as error:
        raise UserError(f"{path} {error}") from None


def read_content(path: Path | str) -> bytes:
    """The file's bytes. Raises UserError for a missing file, a folder, and one without permission."""
    return read_bounded(path, "image", _MOST_BYTES, "check the path")


def decode_picture(content: bytes) -> Picture:
    """An image file's bytes as a frame. The content decides the format, not the file's name.

    Grey, palette and CMYK become BGR; alpha is dropped (in a TIFF, blended with black); 16 bits become 8, of which the
    upper ones stay; an EXIF rotation is applied; of pages and animations the first picture is read. Raises UserError,
    a sentence without its subject (the caller names the file), for what is no image, for one of more than MOST_PIXELS
    and for one that breaks off. (cv2.imread would return the latter half grey; imdecode refuses it. Neither sees a
    file that breaks off and was then closed with an end marker.)
    """
    claimed = claimed_hw(content)  # before decoding: that takes the memory first
    if claimed is None:  # OpenCV would guess its size from who knows where
        raise UserError(f"is not an image that can be read, but {file_kind(content)}")
    if claimed[0] * claimed[1] > MOST_PIXELS:
        raise UserError(
            f"claims {claimed[1]} x {claimed[0]} pixels in {len(content)} bytes, and at most {MOST_PIXELS:,} are read:"
            " cut it into parts, or replace or remove it"
        )
    frame = _decode(content, cv2.IMREAD_COLOR, claimed)
    if frame is None:
        whole = _decode(content, cv2.IMREAD_UNCHANGED, claimed) if content[:4] in TIFF else None
        if whole is None:
            raise UserError(f"is not an image that can be read, but {file_kind(content)}")
        raise UserError(
            f"has pixels of type {whole.dtype}, and whole numbers of 8 or 16 bits are read: save all images as 8 bits,"
            " stretched in one and the same way, those of the device, too"
        )
    picture = np.asarray(frame, dtype=np.uint8)
    return Picture(picture, image_notes(content, picture))


def _decode(content: bytes, flags: int, claimed: tuple[int, int]) -> NDArray[Any] | None:
    """None for what OpenCV refuses. Raises UserError where there is not the memory."""
    try:
        return cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags)
    except cv2.error as error:
        if error.code != cv2.Error.StsNoMem:
            return None  # OpenCV has limits of its own
        raise UserError(
            f"has {claimed[1]} x {claimed[0]} pixels, for which there is not the memory: free some, or make it smaller"
        ) from None
