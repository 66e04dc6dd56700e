"""Small drawn data sets on disk and the tiny recipe that trains on them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from nanogfl.config import (
    AugmentConfig,
    BackboneConfig,
    Config,
    DataConfig,
    HeadConfig,
    ModelConfig,
    NeckConfig,
    TrainConfig,
)
from nanogfl.contract.input_spec import InputSpec

HW = (64, 96)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def draw_split(root: Path, name: str, count: int, seed: int, hw: tuple[int, int], objects: int) -> None:
    """Filled rectangles (category 2) and ellipses (category 7) on noise; every fifth image of `train` is empty."""
    folder = root / name
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(seed)
    images, annotations = [], []
    for index in range(count):
        picture = numbers.integers(90, 120, (*hw, 3)).astype(np.uint8)
        images.append({"id": index + 1, "file_name": f"{index}.png", "width": hw[1], "height": hw[0]})
        slots = numbers.permutation(3)[: 0 if index % 5 == 4 else objects]  # thirds of the width: no overlaps
        for slot in slots:
            w, h = (int(v) for v in numbers.integers(hw[1] // 6, hw[1] // 3 - 3, 2))
            x, y = slot * hw[1] // 3 + 1, int(numbers.integers(1, hw[0] - h - 1))
            category = int(numbers.choice([2, 7]))
            if category == 2:
                cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), (20, 30, 230), cv2.FILLED)
            else:
                centre, axes = (x + w / 2 - 0.5, y + h / 2 - 0.5), (w, h)
                cv2.ellipse(picture, (centre, axes, 0), (230, 220, 40), cv2.FILLED)
            box = {"bbox": [int(x), y, w, h], "area": w * h, "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "image_id": index + 1, "category_id": category, **box})
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    categories = [{"id": 2, "name": "rectangle"}, {"id": 7, "name": "ellipse"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """9 training images (one without objects) and 3 for validation, 96 x 64."""
    root = tmp_path_factory.mktemp("shapes")
    draw_split(root, "train", 9, 0, HW, 2)
    draw_split(root, "val", 3, 1, HW, 2)
    return root


@pytest.fixture
def tiny(shapes: Path) -> Config:
    return Config(
        ModelConfig(
            InputSpec(HW), "relu", BackboneConfig("0.5x"), NeckConfig(channels=16), HeadConfig(convs=1, kernel=3)
        ),
        DataConfig(str(shapes), workers=1),
        train=TrainConfig(epochs=4, batch_size=4, warmup_steps=3, eval_every=2, device="cpu", threads=1),
    )


@pytest.fixture
def easy(tmp_path: Path) -> Config:
    """4 images that are training and validation set at once, without augmentation."""
    draw_split(tmp_path, "train", 4, 3, (128, 160), 2)
    still = AugmentConfig((1.0, 1.0), stretch=0, translate=0, flip=0, brightness=0, contrast=0, saturation=0)
    data = DataConfig(str(tmp_path), workers=0)
    return Config(
        ModelConfig(InputSpec((128, 160)), "relu", BackboneConfig("0.5x"), NeckConfig(channels=32)),
        replace(data, val=data.train),
        still,
        train=TrainConfig(
            epochs=130, batch_size=4, lr=3e-3, warmup_steps=15, ema_decay=0.97, eval_every=130, device="cpu", threads=1
        ),
    )


@pytest.fixture(scope="session")
def draw() -> Callable[..., None]:
    return draw_split
