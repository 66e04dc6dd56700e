"""Generated photographs, their altered copies, and films, each file with the photograph or scene that it shows."""

import cv2
import numpy as np

from nanogfl.data.dataset import DataSet, ImageRecord

HW = (96, 128)


def texture(seed, hw=HW):
    """A picture like no other."""
    noise = np.random.default_rng(seed).integers(0, 256, (hw[0] // 16 + 1, hw[1] // 16 + 1, 3), dtype=np.uint8)
    return cv2.resize(noise, (hw[1], hw[0]), interpolation=cv2.INTER_CUBIC)


def altered(frame, random):
    """Mirrored or turned by quarters, brighter, with noise."""
    frame = np.rot90(frame[:, ::-1] if random.random() < 0.5 else frame, random.integers(4))
    noise = random.normal(0, 6, frame.shape)
    return (frame * random.uniform(0.8, 1.1) + noise).clip(0, 255).astype(np.uint8)


def film(seed, frames, step=3):
    """A camera that moves along a wall."""
    wall = texture(seed, (HW[0], HW[1] + step * frames))
    return [wall[:, step * number : step * number + HW[1]] for number in range(frames)]


def write(folder, pictures):
    """`pictures`: name -> frame, or the name of an earlier picture, whose file is copied."""
    for name, frame in pictures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(frame, str):
            path.write_bytes((folder / frame).read_bytes())
        else:
            path.write_bytes(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


def data_set(folder, names, labels=None, classes=("a", "b")):
    """`labels`: for each name its objects' classes; without, one object of the first class."""
    records = []
    for number, name in enumerate(names):
        held = np.array([0] if labels is None else labels[number], np.int64)
        boxes = np.tile(np.array([0, 0, 9, 9], np.float32), (len(held), 1))
        flags = np.zeros(len(held), np.bool_)
        areas = np.full(len(held), 81, np.float32)
        records.append(ImageRecord(number, folder / name, HW, boxes, held, areas, flags))
    return DataSet("set", tuple(classes), tuple(range(1, len(classes) + 1)), tuple(records), ())


def part(data, ids):
    return DataSet(data.name, data.classes, data.category_ids, tuple(i for i in data.images if i.id in ids), ())
