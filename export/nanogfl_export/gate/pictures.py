"""The pictures that the gate adds to the given images: plain ones without objects, and one full of objects."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.input_spec import InputSpec

_GRID = 4


def plain_pictures(spec: InputSpec) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """(name, network input uint8 (H, W, 3)) without any object."""
    for name, colour in (("a black picture", (0, 0, 0)), ("a grey picture", (128, 128, 128))):
        yield name, np.full((*spec.hw, 3), colour, dtype=np.uint8)
    yield "a picture of the mean colour", np.full((*spec.hw, 3), spec.pad_value, dtype=np.uint8)
    yield "a picture of noise", np.random.default_rng(0).integers(0, 256, (*spec.hw, 3), dtype=np.uint8)
    yield "a white picture", np.full((*spec.hw, 3), 255, dtype=np.uint8)


class Crowd:
    """A grid of the first images, with more objects than any of them."""

    def __init__(self) -> None:
        self._frames: list[NDArray[np.uint8]] = []

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Adds a frame (H, W, 3) while the grid has room."""
        if len(self._frames) < _GRID**2:
            scale = min(1.0, 512 / max(frame.shape[:2]))  # held until the end, so no larger than it is shown
            small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            self._frames.append(np.asarray(small, dtype=np.uint8))

    def picture(self, hw: tuple[int, int]) -> NDArray[np.uint8]:
        """uint8 (h, w, 3) BGR, twice the input's size; images repeat where there are too few."""
        height, width = (2 * side // _GRID for side in hw)
        cells = [cv2.resize(self._frames[i % len(self._frames)], (width, height)) for i in range(_GRID**2)]
        rows = [np.hstack(cells[first : first + _GRID]) for first in range(0, len(cells), _GRID)]
        return np.asarray(np.vstack(rows), dtype=np.uint8)
