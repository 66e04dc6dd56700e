"""Frame -> network input: the one definition for training, evaluation, the export's gate and the device."""

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.input_spec import InputSpec, Placement, Resize, fit, place


def resize_frame(frame: NDArray[np.uint8], hw: tuple[int, int], resize: Resize) -> NDArray[np.uint8]:
    """Frame uint8 (h, w, 3) -> uint8 (h', w', 3) of the size that `fit` gives, without padding.

    Bilinear without antialiasing: with area averaging NanoDet's published weights lose .003 AP.
    """
    content_h, content_w = fit((frame.shape[0], frame.shape[1]), hw, resize)
    resized = cv2.resize(frame, (content_w, content_h), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def preprocess(frame: NDArray[np.uint8], spec: InputSpec) -> tuple[NDArray[np.uint8], Placement]:
    """Frame uint8 (h, w, 3) BGR -> network input uint8 (H, W, 3) BGR and its placement. Raises ValueError for any other
    array."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise ValueError(f"a frame is uint8 (height, width, 3) in BGR, got {frame.dtype} {frame.shape}")
    placement = place((frame.shape[0], frame.shape[1]), spec)
    image = resize_frame(frame, spec.hw, spec.resize)
    (content_h, content_w), (input_h, input_w) = image.shape[:2], spec.hw
    if (content_h, content_w) != (input_h, input_w):
        below, right = input_h - content_h, input_w - content_w
        padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=spec.pad_value)
        image = np.asarray(padded, dtype=np.uint8)
    return image, placement
