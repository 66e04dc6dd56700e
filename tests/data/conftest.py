"""A COCO data set written by hand into a temporary folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@pytest.fixture
def write_coco(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """(annotations, categories, images) -> (json, folder). The images are 100 wide and 60 high unless given."""

    def write(
        annotations: list[dict[str, Any]],
        categories: list[dict[str, Any]] | None = None,
        images: list[dict[str, Any]] | None = None,
        draw: bool = True,
    ) -> tuple[Path, Path]:
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        if images is None:
            images = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 60} for i in (1, 2)]
        for image in images if draw else []:
            path = folder / image["file_name"]
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), np.full((image["height"], image["width"], 3), 90, np.uint8))
        content = {
            "images": images,
            "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, 1)],
            "categories": categories or [{"id": 1, "name": "a"}],
        }
        path = tmp_path / "coco.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path, folder

    return write
