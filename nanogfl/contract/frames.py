"""Reading an image file into a frame: uint8 (H, W, 3), BGR, upright."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""What counts as an image when a folder is listed."""


def read_frame(path: Path | str) -> NDArray[np.uint8]:
    """The image as uint8 (H, W, 3) BGR; grey and alpha become BGR, an EXIF rotation is applied.

    Raises UserError for a missing file and for one that is not an image.
    """
    path = Path(path)
    try:
        content = np.fromfile(path, dtype=np.uint8)  # not cv2.imread: it cannot open non-ASCII paths on Windows
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"image {path} does not exist: check the path") from None
    except OSError as error:
        raise UserError(f"image {path} cannot be read ({error.strerror}): check the path and its permissions") from None
    frame = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if frame is None:
        raise UserError(f"{path} is not an image that OpenCV can decode ({content.size} bytes): replace or remove it")
    return np.asarray(frame, dtype=np.uint8)
