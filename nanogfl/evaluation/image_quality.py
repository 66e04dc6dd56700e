"""How well the detections in one image agree with its objects, to find the best and the worst image. No torch."""

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections
from nanogfl.contract.overlap import overlap
from nanogfl.data.dataset import ImageRecord

_MATCH = 0.5
"""least IoU of a detection and its object"""


def image_quality(image: ImageRecord, found: Detections) -> float | None:
    """Panoptic quality (arXiv:1801.00868) of boxes: the sum of the IoU of matches over TP + FP / 2 + FN / 2, 0 to 1.

    Detections, best first, in the image's pixels; each takes the free object of its class with the largest IoU, from
    0.5 on. Without a match it is wrong, unless half of it lies in a crowd region of its class. None for an image with
    neither objects nor wrong detections, about which there is nothing to see.
    """
    objects = np.flatnonzero(~image.crowd)
    free = np.ones(len(objects), dtype=np.bool_)
    matched, wrong = 0.0, 0
    for box, label in zip(found.boxes, found.labels, strict=True):
        iou = overlap(box, image.boxes[objects]).iou * (image.labels[objects] == label) * free
        best = int(iou.argmax()) if len(objects) else -1
        if best >= 0 and iou[best] >= _MATCH:
            free[best] = False
            matched += float(iou[best])
        else:
            wrong += not _in_crowd(image, box, int(label))
    missed = int(free.sum())
    total = len(objects) - missed + (wrong + missed) / 2
    return matched / total if total else None


def _in_crowd(image: ImageRecord, box: NDArray[np.float32], label: int) -> bool:
    crowd = image.boxes[image.crowd & (image.labels == label)]
    area = float((box[2:] - box[:2]).prod())
    return bool(len(crowd)) and bool((overlap(box, crowd).intersection > area / 2).any())
