"""Reading an image file into a frame: uint8 (H, W, 3), BGR, upright."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.errors import UserError
from nanogfl.io.file_kind import TIFF, file_kind, is_image
from nanogfl.io.image_notes import image_notes
from nanogfl.io.read_file import read_bounded

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""the files that count as images when a folder is listed"""
_MOST_BYTES = 2_000_000_000
"""of an image file: 200 megapixels of three 16-bit channels take 1.2, uncompressed"""
_REDUCED = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)


class Picture(NamedTuple):
    frame: NDArray[np.uint8]
    """(H, W, 3) BGR"""
    notes: tuple[str, ...]
    """what the file holds beyond the frame: see `image_notes`"""


def read_frame(path: Path | str) -> NDArray[np.uint8]:
    """The image as uint8 (H, W, 3) BGR: see `decode_picture`. Raises UserError if it cannot be read."""
    return read_picture(path).frame


def read_picture(path: Path | str) -> Picture:
    """The image and its notes. Raises UserError if it cannot be read."""
    content = read_content(path)
    try:
        return decode_picture(content)
    except UserError as error:
        raise UserError(f"{path} {error}") from None


def read_content(path: Path | str) -> bytes:
    """The file's bytes. Raises UserError for a missing file, a folder, a device or pipe, and one without permission."""
    return read_bounded(path, "image", _MOST_BYTES, "check the path")


def decode_picture(content: bytes) -> Picture:
    """Decodes the bytes of an image file. The content decides the format, not the file's name.

    Grey, palette and CMYK become BGR; alpha is dropped (in a TIFF, blended with black); of 16 bits the upper 8 stay;
    the EXIF orientation is applied; of pages and animations the first picture is read.

    A small file can claim a picture that takes gigabytes. OpenCV refuses more than OPENCV_IO_MAX_IMAGE_PIXELS pixels
    before it takes memory; `import nanogfl` sets that to 200 million. OpenCV reads the variable when it is first
    imported: a program that imports cv2 before nanogfl, and decodes untrusted files, has to set it itself.

    Raises UserError for anything but an image, for too many pixels, for pixels that are not whole numbers, and for a
    file that breaks off (cv2.imread would return the rest grey). The caller puts the file's name before the sentence.
    """
    frame = _decode(content, cv2.IMREAD_COLOR) if is_image(content) else None
    if frame is None:
        whole = _decode(content, cv2.IMREAD_UNCHANGED) if content[:4] in TIFF else None
        if whole is None:
            raise UserError(f"is not an image that can be read, but {file_kind(content)}")
        raise UserError(
            f"has pixels of type {whole.dtype}, and whole numbers of 8 or 16 bits are read: save all images as 8 bits,"
            " all stretched in the same way, also on the device"
        )
    picture = np.asarray(frame, dtype=np.uint8)
    return Picture(picture, image_notes(content, picture))


def decode_small_grey(content: bytes, reduction: int) -> NDArray[np.uint8]:
    """The picture in grey, uint8 (h, w), upright, its sides divided by 8, 4 or 2, by at most `reduction`; a JPEG is
    decoded at that size, which takes a fraction of the time. Raises UserError as `decode_picture` does."""
    flags = next((flag for by, flag in _REDUCED if by <= reduction), cv2.IMREAD_GRAYSCALE)
    frame = _decode(content, flags) if is_image(content) else None
    if frame is None:
        raise UserError(f"is not an image that can be read, but {file_kind(content)}")
    return np.asarray(frame, dtype=np.uint8)


def _decode(content: bytes, flags: int) -> NDArray[Any] | None:
    """None for a file that OpenCV cannot decode. Raises UserError for too many pixels, or too little memory."""
    try:
        return cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags)
    except cv2.error as error:
        if error.func == "validateInputImageSize":
            most = os.environ.get("OPENCV_IO_MAX_IMAGE_PIXELS", "2^30")
            raise UserError(
                f"claims more pixels in {len(content):,} bytes than are read (OPENCV_IO_MAX_IMAGE_PIXELS={most},"
                " and 2^20 per side): replace or remove it, cut it into parts, or set a higher limit"
            ) from None
        if error.code == cv2.Error.StsNoMem:
            raise UserError("has more pixels than there is memory for: free some, or make it smaller") from None
        return None
