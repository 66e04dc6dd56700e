"""One hostile file and the command that reads it, beside the good files that the command needs."""

import functools
import io
import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

MODEL = Path(__file__).parents[1] / "golden" / "blank_detections.onnx"
RECIPE = """
model: {input: {hw: [64, 96]}, backbone: {width: 0.5x}, neck: {channels: 8}}
data: {root: data}
train: {epochs: 1, device: cpu}
"""

Content = str | bytes | Callable[[Path], None]


@dataclass(frozen=True)
class Bad:
    name: str
    command: str
    """of nanogfl; it runs in a folder with `files`, and with a good file for each other name of `GOOD` in it"""
    sentence: str
    """a regular expression that the one line on stderr has to match"""
    files: Mapping[str, Content]

    def build(self, folder: Path) -> list[str]:
        """Writes the files; returns the command's arguments."""
        for name, content in self.files.items():
            write(folder / name, content)
        for name, make in GOOD.items():
            if name in self.command and name not in self.files and not (folder / name).exists():
                write(folder / name, make())
        if "recipe" in self.command or "data/" in self.command or "best.pt" in self.command:
            for split in ("train", "val"):
                for name, content in data_set(split).items():
                    if not os.path.lexists(folder / name):
                        write(folder / name, content)
        return shlex.split(self.command)


def write(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def pipe(path: Path) -> None:
    """Opening it would wait for a writer."""
    os.mkfifo(path)


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


endless = link("/dev/zero")


def encoded(suffix: str, options: Sequence[int] = ()) -> bytes:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return cv2.imencode(suffix, picture, list(options))[1].tobytes()


def coco(**changes: object) -> dict:
    """One image with one box; `image`, `annotation`, `category` change keys of the first of each."""
    image = {"id": 1, "file_name": "a.png", "width": 64, "height": 48, **changes.pop("image", {})}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 24, 24], **changes.pop("annotation", {})}
    category = {"id": 1, "name": "cat", **changes.pop("category", {})}
    return {"images": [image], "annotations": [annotation], "categories": [category], **changes}


def data_set(split: str) -> dict[str, Content]:
    return {f"data/{split}.json": json.dumps(coco()), f"data/{split}/a.png": encoded(".png")}


@functools.cache
def checkpoint_content() -> dict:
    """What torch saves for a small detector of one class."""
    import torch

    from nanogfl.io.yaml_file import parse_yaml
    from nanogfl.model.detector import build_detector
    from nanogfl.recipe import config_from_dict

    torch.manual_seed(0)
    config = config_from_dict(parse_yaml(RECIPE, "recipe"), "recipe")
    weights = {name: value.clone() for name, value in build_detector(config.model, 1).state_dict().items()}
    return {
        "format": "nanogfl checkpoint 1",
        "config": config.to_dict(),
        "classes": ["cat"],
        "category_ids": [1],
        "weights": weights,
        "facts": {"epoch": 1},
        "training": None,
    }


def saved(content: object) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@functools.cache
def good_checkpoint() -> bytes:
    return saved(checkpoint_content())


GOOD: dict[str, Callable[[], Content]] = {
    "recipe.yaml": lambda: RECIPE,
    "model.onnx": MODEL.read_bytes,
    "best.pt": good_checkpoint,
    "photo.png": lambda: encoded(".png"),
}
