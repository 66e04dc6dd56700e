"""A contact sheet of augmented training pictures with the boxes that the network learns."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections
from nanogfl.data.augment.colour import apply_colour
from nanogfl.data.augment.plan import Plans
from nanogfl.data.loader import Loader
from nanogfl.draw.boxes import draw_detections, tile

COLUMNS = 4
_HATCHING = 8
"""pixels between the lines over an ignored region"""


def contact_sheet(loader: Loader, *, epoch: int, count: int) -> NDArray[np.uint8]:
    """uint8 (h, w, 3) BGR: the first `count` pictures of the epoch; ignored regions are hatched."""
    pictures: list[NDArray[np.uint8]] = []
    titles: list[str] = []
    for number in range(loader.steps):
        batch, plans = loader.batch(epoch, number), loader.plans(epoch, number)
        coloured = apply_colour(batch.images, batch.colour).round().to(torch.uint8).numpy()
        truth = batch.truth
        for b, picture in enumerate(coloured[: count - len(pictures)]):
            _hatch(picture, truth.ignored[truth.ignored_image == b].numpy())
            mine = truth.image == b
            labels = truth.labels[mine].numpy()
            boxes = Detections(truth.boxes[mine].numpy(), np.ones(len(labels), dtype=np.float32), labels)
            pictures.append(draw_detections(picture, boxes, loader.dataset.classes, show_scores=False))
            titles.append(f"{len(titles)}{_title(plans, b)}")
        if len(pictures) == count:
            break
    return tile(pictures, COLUMNS, titles)


def _title(plans: Plans, b: int) -> str:
    """What was done to the picture."""
    whole = plans.only[b, :-1] < 0
    parts = ["mosaic"] if (plans.index[b, :-1][whole] >= 0).sum() > 1 else []
    pasted = int((plans.only[b] >= 0).sum())
    parts += [f"{pasted} pasted"] if pasted else []
    parts += [f"mixup {plans.mix[b]:.2f}"] if plans.mix[b] else []
    return "".join(f", {part}" for part in parts)


def _hatch(picture: NDArray[np.uint8], regions: NDArray[np.float32]) -> None:
    """Slanted lines over each region (x1 y1 x2 y2), in place."""
    height, width = picture.shape[:2]
    for x1, y1, x2, y2 in np.rint(regions).astype(int).clip(0, [width, height, width, height]).tolist():
        part = np.ascontiguousarray(picture[y1:y2, x1:x2])
        for start in range(-(y2 - y1), x2 - x1, _HATCHING):
            for offset, colour in ((1, (0, 0, 0)), (0, (255, 255, 255))):
                cv2.line(part, (start + offset, 0), (start + offset + y2 - y1, y2 - y1), colour, 1)
        picture[y1:y2, x1:x2] = part
