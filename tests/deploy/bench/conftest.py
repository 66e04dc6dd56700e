"""One format is enough to bench: the fixture of both formats is replaced."""

from pathlib import Path

import pytest


@pytest.fixture
def blank_path():
    return Path(__file__).parents[2] / "golden" / "blank_detections.onnx"
