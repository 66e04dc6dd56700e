"""A teacher's checkpoint, of another model and other classes than the student's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nanogfl.config import Config, LossConfig
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.detector import build_detector


@pytest.fixture
def make_teacher(tiny: Config, tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint with random weights whose scores lie around one half. `model`: changed sections."""

    def make(
        name: str = "teacher.pt",
        classes: tuple[str, ...] = ("Ellipse", "square"),
        seed: int = 7,
        loss: LossConfig | None = None,
        **model: object,
    ) -> Path:
        config = replace(tiny, model=replace(tiny.model, **model), loss=loss or tiny.loss)
        torch.manual_seed(seed)
        detector = build_detector(config.model, len(classes))
        with torch.no_grad():
            for part in getattr(detector.head, "outputs", ()):
                part.weight.normal_(std=0.3)
                part.bias.normal_()
        path = tmp_path / name
        save_checkpoint(path, Checkpoint(config, classes, tuple(range(1, len(classes) + 1)), detector.state_dict()))
        return path

    return make
