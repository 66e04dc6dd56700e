"""Writes an image's objects as a label file of YOLO, and the class names as data.yaml, without pyyaml."""

import json
from collections.abc import Sequence

from nanogfl.data.dataset import ImageRecord


def yolo_label(image: ImageRecord) -> str:
    """One line per object, `class cx cy w h`, in parts of the image's width and height. Crowd regions are left out."""
    height, width = image.hw
    lines = [
        f"{label} {(x1 + x2) / 2 / width:.7f} {(y1 + y2) / 2 / height:.7f}"
        f" {(x2 - x1) / width:.7f} {(y2 - y1) / height:.7f}\n"
        for (x1, y1, x2, y2), label, crowd in zip(
            image.boxes.tolist(), image.labels.tolist(), image.crowd.tolist(), strict=True
        )
        if not crowd
    ]
    return "".join(lines)


def data_yaml(classes: Sequence[str], images: str) -> str:
    """`images`: the folder of the images, relative to the file. Strings of JSON are strings of YAML."""
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(classes))
    return f"train: {json.dumps(images)}\nnc: {len(classes)}\nnames:\n{names}"
