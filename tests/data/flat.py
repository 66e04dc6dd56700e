"""Data sets that exist in memory only, and the settings that change nothing: for the tests of augmentation."""

from pathlib import Path

import cv2
import numpy as np

from nanogfl.config import AugmentConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.arrays import DataIndex
from nanogfl.data.augment.plan import Plans, draw_plans
from nanogfl.data.dataset import DataSet, ImageRecord

STILL = {
    "scale": (1.0, 1.0),
    "stretch": 0.0,
    "translate": 0.0,
    "flip": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
}


def still(**changes) -> AugmentConfig:
    return AugmentConfig(**{**STILL, **changes})


def record(number: int, hw, boxes=(), labels=None, crowd=None) -> ImageRecord:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.zeros(len(boxes), np.int64) if labels is None else np.array(labels, np.int64)
    crowd = np.zeros(len(boxes), np.bool_) if crowd is None else np.array(crowd, np.bool_)
    return ImageRecord(number, Path(f"{number}.png"), hw, boxes, labels, np.ones(len(boxes), np.float32), crowd)


def index_of(*records: ImageRecord) -> DataIndex:
    return DataIndex.of(DataSet("test", ("a", "b", "c"), (1, 2, 3), records, ()))


def plans_of(
    index: DataIndex, spec: InputSpec, augment: AugmentConfig, count=64, *, seed=0, epoch=0, plain=False
) -> Plans:
    positions = np.arange(count)
    return draw_plans(index, positions % len(index), positions, spec, augment, seed=seed, epoch=epoch, plain=plain)


def equal(first, second) -> bool:
    """Whether two NamedTuples of arrays are the same to the bit."""
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def smooth_picture(hw, seed=0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (hw[0] // 8 + 2, hw[1] // 8 + 2, 3)).astype(np.uint8)
    return cv2.resize(noise, (hw[1], hw[0]), interpolation=cv2.INTER_CUBIC)
