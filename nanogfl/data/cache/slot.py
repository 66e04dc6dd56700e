"""What a cached image is: the network's resize of the whole frame, in a slot of fixed size."""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.input_spec import InputSpec, Resize, fit
from nanogfl.contract.preprocess import resize_frame

FORMAT = 3
"""Raise it when the pixels of a slot or the tables of index.py change. A store of another format is never read; the
size limit or `nanogfl data cache --clear` removes it."""


@dataclass(frozen=True)
class Slot:
    """uint8 (H', W', 3) BGR with the image at the top left; right of it and below, `pad_value`."""

    hw: tuple[int, int]
    resize: Resize
    pad_value: tuple[int, int, int]

    @staticmethod
    def of(spec: InputSpec, zoom: float) -> "Slot":
        """Of `zoom` times the input's size, rounded; with zoom 1, exactly what `preprocess` makes of a frame."""
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
        """The name of a store of such slots. OpenCV's version is part of it because versions resize differently."""
        padding = "" if self.resize == "stretch" else "-" + "-".join(str(value) for value in self.pad_value)
        opencv = ".".join(cv2.__version__.split(".")[:2])
        return f"{self.hw[1]}x{self.hw[0]}-{self.resize}{padding}-opencv{opencv}-v{FORMAT}"

    def content_hw(self, source_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width that an image with this height and width has in its slot."""
        return fit(source_hw, self.hw, self.resize)

    def fill(self, frame: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Writes the frame, uint8 (h, w, 3) BGR, into `out`, uint8 (H', W', 3)."""
        content = resize_frame(frame, self.hw, self.resize)
        height, width = content.shape[:2]
        out[:height, :width] = content
        out[height:] = self.pad_value
        out[:height, width:] = self.pad_value


def checksum(pixels: NDArray[np.uint8]) -> int:
    """A 32-bit checksum of a slot's pixels (H, W, 3): enough to notice damage, at 2 GB per second."""
    return zlib.crc32(pixels.data)


@dataclass(frozen=True)
class Stored:
    """The slots of n images, in the images' order."""

    slots: NDArray[np.uint8] | None
    """uint8 (S, H', W', 3)"""
    slot_of: NDArray[np.int64]
    """(n,); -1 where there is none"""
    source_hw: NDArray[np.int64]
    """(n, 2) height, width in the file, upright; 0 where it is unreadable"""
    checksums: NDArray[np.uint32]
    """(n,) `checksum` of each image's slot; 0 where there is none"""
    complaints: list[str | None]
    """what is wrong with each image; None: it can be read"""
    notes: list[tuple[str, ...]]
    """of each readable image: what of its file is not in its frame, and damage that was repaired"""
    decoded: int
    """how many images this call decoded and kept"""
    where: str
