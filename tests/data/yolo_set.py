"""YOLO's layout written by hand, or from an index."""

import json
from collections.abc import Mapping
from pathlib import Path

from nanogfl.data.dataset import DataSet
from tests.data.voc_set import draw_image

NAMES = "names: [cat, dog]\n"


def write_yolo(root: Path, labels: Mapping[str, str | bytes | None], data: str | bytes = NAMES) -> tuple[Path, Path]:
    """image name -> its label file's text, or None for no file. Images are 100 wide, 60 high."""
    images, folder = root / "images/train", root / "labels/train"
    images.mkdir(parents=True)
    folder.mkdir(parents=True)
    for name, text in labels.items():
        draw_image(images / f"{name}.png")
        if text is not None:
            (folder / f"{name}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    file = root / "data.yaml"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return file, images


def yolo_copy(dataset: DataSet, root: Path) -> tuple[Path, Path]:
    """The data set's objects without crowd regions; the images are links. Class k is the k-th class."""
    images, folder = root / "images/all", root / "labels/all"
    images.mkdir(parents=True)
    folder.mkdir(parents=True)
    for image in dataset.images:
        (images / image.path.name).symlink_to(image.path.resolve())
        height, width = image.hw
        lines = [
            f"{label} {(x1 + x2) / 2 / width:.8f} {(y1 + y2) / 2 / height:.8f}"
            f" {(x2 - x1) / width:.8f} {(y2 - y1) / height:.8f}\n"
            for (x1, y1, x2, y2), label, crowd in zip(
                image.boxes.tolist(), image.labels.tolist(), image.crowd.tolist(), strict=True
            )
            if not crowd
        ]
        if lines:
            (folder / f"{image.path.stem}.txt").write_text("".join(lines))
    data = root / "data.yaml"
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(dataset.classes))
    data.write_text(f"path: /nowhere\ntrain: images/all\nnc: {len(dataset.classes)}\nnames:\n{names}")
    return data, images
