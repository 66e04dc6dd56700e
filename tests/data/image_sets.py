"""Data sets of textured images in a folder, and what a cache must hold of them."""

import cv2
import numpy as np

from nanogfl.contract.input_spec import InputSpec
from nanogfl.contract.preprocess import preprocess
from nanogfl.data.dataset import DataSet, ImageRecord

SPEC = InputSpec(hw=(64, 96))
LETTERBOX = InputSpec(hw=(64, 96), resize="letterbox")


def texture(seed, hw):
    return np.random.default_rng(seed).integers(0, 256, (*hw, 3), dtype=np.uint8)


def write_image(path, seed, hw=(50, 70)):
    path.write_bytes(cv2.imencode(".png", texture(seed, hw))[1].tobytes())


def record(path, number, hw=(50, 70)):
    nothing = np.zeros(0)
    boxes = np.zeros((0, 4), np.float32)
    return ImageRecord(number, path, hw, boxes, nothing.astype(np.int64), nothing.astype(np.float32), nothing == 1)


def data_set(paths, hw=(50, 70)):
    images = tuple(record(path, number, hw) for number, path in enumerate(paths))
    return DataSet("set.json", ("a",), (1,), images, ())


def image_files(folder, count, first_seed=0):
    """`count` files with a texture of their own, 50 high and 70 wide."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{first_seed + number:03d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        write_image(path, first_seed + number)
    return paths


def assert_holds(frames, dataset, spec):
    """Every image is what preprocess makes of its file now, with its padding."""
    assert len(dataset.images) > 0
    for index, image in enumerate(dataset.images):
        expected, _ = preprocess(cv2.imread(str(image.path)), spec)
        assert np.array_equal(frames.slots[frames.slot_of[index]], expected), image.path
        height, width = frames.content_hw[index]
        content = frames.get(index)
        assert content.shape == (height, width, 3)
        assert np.array_equal(content, expected[:height, :width])
        assert (expected[height:] == spec.pad_value).all()
        assert (expected[:, width:] == spec.pad_value).all()
