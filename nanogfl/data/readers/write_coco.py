"""Writes a data set of any format as COCO json, which reads back to the same data set."""

import json
import os
from pathlib import Path
from typing import Any

from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.io.atomic import atomic_path


def write_coco(dataset: DataSet, images: Path, output: Path) -> None:
    """Image names are relative to the folder `images`. Boxes and areas are exact.

    Raises UserError if `output` cannot be written.
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
        # exact: in float64, x1 + (x2 - x1) is x2 again for two float32
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
