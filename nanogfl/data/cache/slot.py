"""What a cached image is: the network's resize of the whole frame, in a room of fixed size; and many of them."""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.input_spec import InputSpec, Resize, fit
from nanogfl.contract.preprocess import resize_frame

_FORMAT = 2
"""Raise it when the pixels of a slot or the tables of frame_index.py change: older caches are then left alone."""


@dataclass(frozen=True)
class Slot:
    """uint8 (H', W', 3) BGR with the image at the top left; right of it and below, `pad_value`."""

    hw: tuple[int, int]
    resize: Resize
    pad_value: tuple[int, int, int]

    @staticmethod
    def of(spec: InputSpec, zoom: float) -> "Slot":
        """With zoom 1, exactly what `preprocess` makes of a frame; else of `zoom` times the input's size, rounded."""
        height, width = spec.hw
        return Slot((max(1, round(height * zoom)), max(1, round(width * zoom))), spec.resize, spec.pad_value)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.hw, 3)

    @property
    def nbytes(self) -> int:
        return self.hw[0] * self.hw[1] * 3

    @property
    def key(self) -> str:
        """The folder's name of a cache of such slots. OpenCV's version is in it because versions resize differently."""
        padding = "" if self.resize == "stretch" else "-" + "-".join(str(value) for value in self.pad_value)
        opencv = ".".join(cv2.__version__.split(".")[:2])
        return f"{self.hw[1]}x{self.hw[0]}-{self.resize}{padding}-opencv{opencv}-v{_FORMAT}"

    def content_hw(self, source_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width in the slot of a picture with these in its file."""
        return fit(source_hw, self.hw, self.resize)

    def fill(self, frame: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Frame uint8 (h, w, 3) BGR -> `out` uint8 (H', W', 3)."""
        content = resize_frame(frame, self.hw, self.resize)
        height, width = content.shape[:2]
        out[:height, :width] = content
        out[height:] = self.pad_value
        out[:height, width:] = self.pad_value


def checksum(pixels: NDArray[np.uint8]) -> int:
    """Of a slot, 32 bits: enough to see damage, at 2 GB a second."""
    return zlib.crc32(pixels.data)


@dataclass(frozen=True)
class Stored:
    """Of n images in their order."""

    slots: NDArray[np.uint8] | None
    """uint8 (S, H', W', 3)"""
    slot_of: NDArray[np.int64]
    """(n,); -1 where there is none"""
    source_hw: NDArray[np.int64]
    """(n, 2) height, width in the file, upright; 0 where it is unreadable"""
    checksums: NDArray[np.uint32]
    """(n,) of each image's slot; 0 where there is none"""
    complaints: list[str | None]
    """what is wrong with an unreadable image"""
    notes: list[tuple[str, ...]]
    """what there is to say of a readable image: what of it is not in its frame, and damage that was mended"""
    decoded: int
    """how many were decoded now and kept"""
    where: str
