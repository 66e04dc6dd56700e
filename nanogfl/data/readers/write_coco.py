"""A data set written as COCO json: what was read from any format, read again by `load_coco` to the very same."""

import json
import os
from pathlib import Path
from typing import Any

from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.io.atomic import atomic_path


def write_coco(dataset: DataSet, images: Path, output: Path) -> None:
    """Names the images relative to the folder `images`. Boxes and areas are written to the last bit.

    Raises UserError where `output` cannot be written.
    """
    content: dict[str, Any] = {
        "info": {"description": f"converted by nanogfl from {Path(dataset.name).name}"},
        "licenses": [],
        "categories": [
            {"id": number, "name": name, "supercategory": ""}
            for number, name in zip(dataset.category_ids, dataset.classes, strict=True)
        ],
        "images": [_image(image, images) for image in dataset.images],
        "annotations": [],
    }
    for image in dataset.images:
        for annotation in _annotations(image, dataset.category_ids):
            content["annotations"].append({"id": len(content["annotations"]) + 1, **annotation})
    with atomic_path(output) as temporary:
        temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def _image(image: ImageRecord, folder: Path) -> dict[str, Any]:
    name = Path(os.path.relpath(image.path, folder)).as_posix()
    height, width = image.hw
    return {"id": image.id, "file_name": name, "width": width, "height": height}


def _annotations(image: ImageRecord, category_ids: tuple[int, ...]) -> list[dict[str, Any]]:
    written = []
    for (x1, y1, x2, y2), label, area, crowd in zip(
        image.boxes.tolist(), image.labels.tolist(), image.areas.tolist(), image.crowd.tolist(), strict=True
    ):
        # the difference of two float32, as float64, adds up to the second one again
        box = [_short(value) for value in (x1, y1, x2 - x1, y2 - y1)]
        written.append(
            {
                "image_id": image.id,
                "category_id": category_ids[label],
                "bbox": box,
                "area": _short(area),
                "iscrowd": int(crowd),
            }
        )
    return written


def _short(value: float) -> int | float:
    return int(value) if value.is_integer() else value
