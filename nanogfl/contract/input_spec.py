"""What the network sees, and where a frame lies in it. No OpenCV: configuration and losses import it, too."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

LARGEST_SIDE = 4096
"""of a network's input in pixels: one layer of 24 channels at half of it takes 400 MB"""

Resize = Literal["stretch", "letterbox"]


@dataclass(frozen=True)
class InputSpec:
    """What the network sees: uint8 (B, H, W, 3), BGR; it is normalised inside the network by (pixel - mean) / std."""

    hw: tuple[int, int] = (320, 320)
    """height, width in pixels, multiples of 32"""
    resize: Resize = "stretch"
    """stretch: both sides scaled to hw; letterbox: one scale, padded right and below with the rounded mean"""
    mean: tuple[float, float, float] = (103.53, 116.28, 123.675)
    """blue, green, red"""
    std: tuple[float, float, float] = (57.375, 57.12, 58.395)
    """blue, green, red"""

    # Unknown keys in a YAML are errors; a plain dict, so that the device needs no pydantic.
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
        """The colour of padding: what the network sees as zero, rounded to whole grey levels."""
        blue, green, red = (round(channel) for channel in self.mean)
        return blue, green, red


@dataclass(frozen=True)
class Placement:
    """Where a source frame lies in the network input: x_input = x_source * scale_x, likewise y."""

    source_hw: tuple[int, int]
    scale_x: float
    scale_y: float

    def boxes_to_input(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """(D, 4) x1 y1 x2 y2 in source pixels -> the same in network-input pixels."""
        return boxes * self._factors()

    def boxes_to_source(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """(D, 4) x1 y1 x2 y2 in network-input pixels -> source pixels, clipped to the source frame."""
        height, width = self.source_hw
        limit = np.array([width, height, width, height], dtype=np.float32)
        return np.asarray(np.clip(boxes / self._factors(), np.float32(0), limit), dtype=np.float32)

    def spread_to_source(self, spread: NDArray[np.float32]) -> NDArray[np.float32]:
        """(D, 4) standard deviations of the left, top, right, bottom side, input pixels -> source pixels."""
        return spread / self._factors()

    def _factors(self) -> NDArray[np.float32]:
        return np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y], dtype=np.float32)


def place(source_hw: tuple[int, int], spec: InputSpec) -> Placement:
    """How `preprocess` scales a frame of this height and width."""
    content_h, content_w = fit(source_hw, spec.hw, spec.resize)
    return Placement(source_hw, content_w / source_hw[1], content_h / source_hw[0])


def fit(source_hw: tuple[int, int], hw: tuple[int, int], resize: Resize) -> tuple[int, int]:
    """Height and width that a picture has once it is resized into a room of `hw`: whole pixels, so that the picture's
    edge and the boxes' edge agree."""
    (height, width), (room_h, room_w) = source_hw, hw
    if resize == "stretch":
        return hw
    scale = min(room_w / width, room_h / height)
    return min(room_h, max(1, round(height * scale))), min(room_w, max(1, round(width * scale)))
