"""A contact sheet of training pictures as the network gets them: augmented, with the boxes that it learns."""

from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nanogfl.config import Config
from nanogfl.contract.detections import Detections
from nanogfl.contract.draw import draw_detections, tile
from nanogfl.contract.preprocess import InputSpec, preprocess
from nanogfl.data.cache import read_checked
from nanogfl.data.coco import DataSet, ImageRecord
from nanogfl.data.colour import apply_colour
from nanogfl.data.flat_index import DataIndex
from nanogfl.data.plan import Plans, draw_plans, is_plain
from nanogfl.data.render import render_into
from nanogfl.data.render_device import render_batch
from nanogfl.data.targets import move_truth

COLUMNS = 4
_HATCHING = 8
"""pixels between the lines over an ignored region"""

Frames = dict[int, NDArray[np.uint8]]


def contact_sheet(
    dataset: DataSet, config: Config, *, epoch: int, count: int, renderer: Literal["cv2", "device"]
) -> NDArray[np.uint8]:
    """The first `count` pictures of the epoch -> uint8 (h, w, 3) BGR; ignored regions are hatched.

    Raises UserError for an image that cannot be read.
    """
    index, spec, augment = DataIndex.of(dataset), config.model.input, config.augment
    order = np.random.default_rng((config.train.seed, epoch)).permutation(len(index))[:count]
    plain = is_plain(augment, epoch, config.train.epochs)
    positions = np.arange(len(order))
    plans = draw_plans(index, order, positions, spec, augment, seed=config.train.seed, epoch=epoch, plain=plain)
    frames = {i: _content(dataset.images[i], spec) for i in np.unique(plans.index).tolist() if i >= 0}
    pixels = _by_cv2(frames, plans, index, spec) if renderer == "cv2" else _by_device(frames, plans, index, spec)
    coloured = apply_colour(pixels, torch.from_numpy(plans.colour)).round().to(torch.uint8).numpy()
    truth = move_truth(index, plans, augment.keep_visible)
    pictures, titles = [], []
    for b, picture in enumerate(coloured):
        _hatch(picture, truth.ignored[truth.ignored_image == b])
        mine = truth.image == b
        boxes = Detections(truth.boxes[mine], np.ones(mine.sum(), dtype=np.float32), truth.labels[mine])
        pictures.append(draw_detections(picture, boxes, dataset.classes, show_scores=False))
        titles.append(_title(plans, b))
    return tile(pictures, COLUMNS, titles)


def _content(image: ImageRecord, spec: InputSpec) -> NDArray[np.uint8]:
    """The image as a cache keeps it: of the input's size, without padding."""
    picture, placement = preprocess(read_checked(image), spec)
    return picture[: round(image.hw[0] * placement.scale_y), : round(image.hw[1] * placement.scale_x)]


def _by_cv2(frames: Frames, plans: Plans, index: DataIndex, spec: InputSpec) -> torch.Tensor:
    pictures = np.empty((len(plans.mix), *spec.hw, 3), dtype=np.uint8)
    for b, picture in enumerate(pictures):
        render_into(picture, plans, b, frames.__getitem__, index.hw, spec)
    return torch.from_numpy(pictures)


def _by_device(frames: Frames, plans: Plans, index: DataIndex, spec: InputSpec) -> torch.Tensor:
    slots = np.zeros((len(frames), *spec.hw, 3), dtype=np.uint8)
    slot_of, content_hw = np.zeros(len(index), dtype=np.int64), np.ones((len(index), 2), dtype=np.int64)
    for slot, (image, frame) in enumerate(frames.items()):
        height, width = frame.shape[:2]
        slots[slot, :height, :width] = frame
        slot_of[image], content_hw[image] = slot, (height, width)
    return render_batch(torch.from_numpy(slots), slot_of, content_hw, plans, index.hw, spec)


def _title(plans: Plans, b: int) -> str:
    """What was done to the picture."""
    whole = plans.only[b, :-1] < 0
    parts = [f"{b}"]
    parts += ["mosaic"] if (plans.index[b, :-1][whole] >= 0).sum() > 1 else []
    pasted = int((plans.only[b] >= 0).sum())
    parts += [f"{pasted} pasted"] if pasted else []
    parts += [f"mixup {plans.mix[b]:.2f}"] if plans.mix[b] else []
    return ", ".join(parts)


def _hatch(picture: NDArray[np.uint8], regions: NDArray[np.float32]) -> None:
    """Slanted lines over each region (x1 y1 x2 y2), in place."""
    height, width = picture.shape[:2]
    for x1, y1, x2, y2 in np.rint(regions).astype(int).clip(0, [width, height, width, height]).tolist():
        part = np.ascontiguousarray(picture[y1:y2, x1:x2])
        for start in range(-(y2 - y1), x2 - x1, _HATCHING):
            for offset, colour in ((1, (0, 0, 0)), (0, (255, 255, 255))):
                cv2.line(part, (start + offset, 0), (start + offset + y2 - y1, y2 - y1), colour, 1)
        picture[y1:y2, x1:x2] = part
