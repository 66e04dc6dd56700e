"""The same small data set in each of the formats that name their images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.data.voc_set import BOX, SIZE, thing, write_voc, xml

LVIS = pytest.param("lvis", marks=pytest.mark.exhaustive)  # it is read by COCO's code
NAMING = ("coco", LVIS, "voc")
"""formats whose annotations name their images; YOLO's label files are found by the images' names"""


def write_named(
    kind: str,
    root: Path,
    names: Sequence[str],
    *,
    image: dict[str, Any] | None = None,
    annotation: dict[str, Any] | None = None,
    inside: str = BOX,
    size: str = SIZE,
) -> tuple[Path, Path]:
    """One object, 5 7 25 17, in each of the images `names`, which are not drawn. Returns annotations and image folder.
    `image` and `annotation` change COCO's and LVIS's entries, `inside` and `size` VOC's."""
    if kind == "voc":
        files = {f"xml{n}": xml(thing(inside=inside), filename=name, size=size) for n, name in enumerate(names)}
        return write_voc(root, files, draw=False)
    folder = root / "images"
    folder.mkdir(parents=True)
    lvis = {"neg_category_ids": [], "not_exhaustive_category_ids": []} if kind == "lvis" else {}
    images = [
        {"id": n, "file_name": name, "width": 100, "height": 60, **lvis, **(image or {})}
        for n, name in enumerate(names)
    ]
    boxes = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [5, 7, 20, 10], **(annotation or {})}
        for n in range(len(names))
    ]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat", "frequency": "r"}]}
    file = root / "set.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file, folder
