"""Carrying out a plan: pixels by OpenCV, boxes by the same matrix."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.preprocess import InputSpec
from nanogfl.data.plan import Plan


@dataclass(frozen=True)
class Sample:
    """One training picture with its truth, boxes x1 y1 x2 y2 in network-input pixels."""

    image: NDArray[np.uint8]
    """(H, W, 3) BGR"""
    boxes: NDArray[np.float32]
    """(G, 4)"""
    labels: NDArray[np.int64]
    """(G,)"""
    ignored: NDArray[np.float32]
    """(Q, 4) regions that are neither object nor background"""


def render_image(frame: NDArray[np.uint8], plan: Plan, spec: InputSpec) -> NDArray[np.uint8]:
    """Frame uint8 (h, w, 3) -> network input uint8 (H, W, 3), both BGR; what the frame does not cover is pad_value."""
    height, width = spec.hw
    # OpenCV's coordinates are pixel centres: half a pixel less on both sides of the map.
    matrix = plan.matrix.copy()
    matrix[:, 2] += plan.matrix[:, :2].sum(axis=1) * 0.5 - 0.5
    image = cv2.warpAffine(
        frame,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=spec.pad_value,
    )
    if not np.array_equal(plan.colour, np.eye(3, 4)):
        image = cv2.transform(image, plan.colour)
    return np.asarray(image, dtype=np.uint8)


def move_boxes(boxes: NDArray[np.float32], plan: Plan) -> NDArray[np.float32]:
    """(G, 4) x1 y1 x2 y2 in source pixels -> the upright hull of each in input pixels, not clipped."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2).astype(np.float64)
    moved = corners @ plan.matrix[:, :2].T + plan.matrix[:, 2]
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1).astype(np.float32)


def render(
    frame: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    plan: Plan,
    spec: InputSpec,
    keep_visible: float,
) -> Sample:
    """An object of which less than `keep_visible` is left inside becomes an ignored region, as crowd regions are."""
    moved = move_boxes(boxes, plan)
    height, width = spec.hw
    clipped = np.clip(moved, np.float32(0), np.array([width, height, width, height], dtype=np.float32))
    sides = clipped[:, 2:] - clipped[:, :2]
    inside = (sides > 1).all(axis=1)  # a sliver of a pixel is nothing to learn from
    area = np.maximum((moved[:, 2:] - moved[:, :2]).prod(axis=1), 1e-6)
    positive = inside & ~crowd & (sides.prod(axis=1) / area >= keep_visible)
    ignored = (sides > 0).all(axis=1) & ~positive
    return Sample(render_image(frame, plan, spec), clipped[positive], labels[positive], clipped[ignored])
