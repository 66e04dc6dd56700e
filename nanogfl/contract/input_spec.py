"""The input of the network, and the place of a frame in it. Imports no OpenCV: configuration and losses use it."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

LARGEST_SIDE = 4096
"""of the network input in pixels: a layer of 24 channels at half of it takes 400 MB"""

Resize = Literal["stretch", "letterbox"]


@dataclass(frozen=True)
class InputSpec:
    """The network takes uint8 (B, H, W, 3) BGR, and normalises it to (pixel - mean) / std inside. Constructing raises
    ValueError for values out of bounds."""

    hw: tuple[int, int] = (320, 320)
    """height, width in pixels, multiples of 32"""
    resize: Resize = "stretch"
    """stretch: each side is scaled to hw; letterbox: one scale, padded right and below with the rounded mean"""
    mean: tuple[float, float, float] = (103.53, 116.28, 123.675)
    """blue, green, red"""
    std: tuple[float, float, float] = (57.375, 57.12, 58.395)
    """blue, green, red"""

    # An unknown key in a YAML is an error. A plain dict, because the device has no pydantic.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if max(self.hw) > LARGEST_SIDE:
            raise ValueError(f"height and width must be at most {LARGEST_SIDE}, got {self.hw[0]} x {self.hw[1]}")
        if min(self.hw) < 32 or self.hw[0] % 32 or self.hw[1] % 32:
            raise ValueError(f"height and width must be multiples of 32, got {self.hw[0]} x {self.hw[1]}")
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)):
            raise ValueError(f"mean and std must be finite, got {self.mean} and {self.std}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")

    @property
    def pad_value(self) -> tuple[int, int, int]:
        """Blue, green, red of the padding: the mean, which the network sees as zero, rounded to grey levels."""
        blue, green, red = (round(channel) for channel in self.mean)
        return blue, green, red


@dataclass(frozen=True)
class Placement:
    """The place of a source frame in the network input: x_input = x_source * scale_x, likewise y."""

    source_hw: tuple[int, int]
    scale_x: float
    scale_y: float

    def boxes_to_input(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """(D, 4) x1 y1 x2 y2 in source pixels -> in network-input pixels."""
        return boxes * self._factors()

    def boxes_to_source(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """(D, 4) x1 y1 x2 y2 in network-input pixels -> in source pixels, clipped to the frame."""
        height, width = self.source_hw
        limit = np.array([width, height, width, height], dtype=np.float32)
        return np.asarray(np.clip(boxes / self._factors(), np.float32(0), limit), dtype=np.float32)

    def spread_to_source(self, spread: NDArray[np.float32]) -> NDArray[np.float32]:
        """(D, 4) standard deviations of left, top, right, bottom in network-input pixels -> in source pixels."""
        return spread / self._factors()

    def _factors(self) -> NDArray[np.float32]:
        return np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y], dtype=np.float32)


def place(source_hw: tuple[int, int], spec: InputSpec) -> Placement:
    """The placement of a frame of this height and width by `preprocess`."""
    content_h, content_w = fit(source_hw, spec.hw, spec.resize)
    return Placement(source_hw, content_w / source_hw[1], content_h / source_hw[0])


def fit(source_hw: tuple[int, int], hw: tuple[int, int], resize: Resize) -> tuple[int, int]:
    """Height and width of a picture of `source_hw` resized into an input of `hw`: whole pixels, so that the edge of the
    picture and of its boxes agree."""
    (height, width), (input_h, input_w) = source_hw, hw
    if resize == "stretch":
        return hw
    scale = min(input_w / width, input_h / height)
    return min(input_h, max(1, round(height * scale))), min(input_w, max(1, round(width * scale)))
