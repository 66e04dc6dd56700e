"""A COCO json rewritten as LVIS v1 has it."""

import json
from pathlib import Path
from typing import Any


def as_lvis(file: Path, folder: str) -> dict[str, Any]:
    """The content with frequencies r, c, f in turn and no file_name but an address that ends in folder/name. Of the
    categories that an image does not hold every second one is negative; every third image is not exhaustive in all."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    ids = [category["id"] for category in content["categories"]]
    for number, category in enumerate(content["categories"]):
        category["frequency"] = "rcf"[number % 3]
    for number, image in enumerate(content["images"]):
        held = {entry["category_id"] for entry in content["annotations"] if entry["image_id"] == image["id"]}
        image["coco_url"] = f"http://images.example.org/{folder}/{image.pop('file_name')}"
        image["neg_category_ids"] = [i for k, i in enumerate(ids) if i not in held and (k + number) % 2]
        image["not_exhaustive_category_ids"] = ids if number % 3 == 0 else []
    return content
