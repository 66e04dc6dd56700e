"""Decoded training images, kept in memory up to a limit."""

import threading

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.errors import UserError
from nanogfl.contract.frames import read_frame
from nanogfl.data.coco import ImageRecord


def read_checked(image: ImageRecord) -> NDArray[np.uint8]:
    """The image as uint8 (h, w, 3) BGR. Raises UserError where it is unreadable or of another size than annotated."""
    frame = read_frame(image.path)
    if frame.shape[:2] != image.hw:
        (height, width), (found_h, found_w) = image.hw, frame.shape[:2]
        raise UserError(
            f"{image.path} is {found_w} x {found_h} but annotated as {width} x {height}"
            " (an EXIF rotation, or a replaced file?): correct one of them"
        )
    return frame


class FrameCache:
    """`get(image)` decodes an image at most once as long as the limit allows. Safe to share between threads."""

    def __init__(self, limit_gb: float) -> None:
        self._free = int(limit_gb * 1e9)
        self._frames: dict[int, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def get(self, image: ImageRecord) -> NDArray[np.uint8]:
        """uint8 (h, w, 3) BGR, not to be written to."""
        kept = self._frames.get(image.id)
        if kept is not None:
            return kept
        frame = read_checked(image)
        with self._lock:
            if image.id not in self._frames and frame.nbytes <= self._free:
                self._free -= frame.nbytes
                self._frames[image.id] = frame
        return frame
