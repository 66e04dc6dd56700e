"""A contact sheet per finding: its examples, cut out around the boxes that it is about."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections
from nanogfl.data.dataset import ImageRecord
from nanogfl.data.lint.finding import Example, Finding, sample
from nanogfl.draw.boxes import draw_detections, tile
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.io.images import read_frame

CELL_HW = (270, 360)
SHOWN = 8
COLUMNS = 4
AROUND = 1.5
"""surroundings that are shown on each side of the boxes, as a multiple of their size"""
LEAST_CUT = 96
"""least side of a cut in pixels of the image"""


def save_sheet(path: Path, finding: Finding, classes: dict[str, tuple[str, ...]]) -> bool:
    """Writes a .png of a few examples. Returns False where none can be seen. `classes`: names, by the split."""
    pictures: list[NDArray[np.uint8]] = []
    titles: list[str] = []
    for example in sample([example for example in finding.examples if example.image is not None], SHOWN):
        shown = _draw(example, classes[example.split])
        if shown is not None:
            pictures.append(shown)
            titles.append(f"{example.split} {_name(example)}")
    if not pictures:
        return False
    columns = COLUMNS // 2 if any(example.beside for example in finding.examples) else COLUMNS
    encoded, content = cv2.imencode(".png", tile(pictures, columns, titles))
    assert encoded, "OpenCV cannot write a PNG"
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.tobytes())
    return True


def _draw(example: Example, classes: tuple[str, ...]) -> NDArray[np.uint8] | None:
    assert example.image is not None
    if example.beside is None:
        return _cut_out(example.image, example.rows, classes, CELL_HW)
    both = [_cut_out(image, (), classes, CELL_HW) for image in (example.image, example.beside)]
    seen = [picture for picture in both if picture is not None]
    return tile(seen, 2) if seen else None


def _cut_out(
    image: ImageRecord, rows: tuple[int, ...], classes: tuple[str, ...], room: tuple[int, int]
) -> NDArray[np.uint8] | None:
    """The image with all its boxes, or the surroundings of the boxes `rows`, fitted into `room` (height, width)."""
    try:
        frame = read_frame(image.path)
    except UserError:
        return None  # the finding's own text says why
    chosen = np.array(rows, dtype=np.int64) if rows else np.arange(len(image.boxes))
    boxes = image.boxes[chosen]
    left, top, right, bottom = _surroundings(boxes, frame.shape) if rows else (0, 0, frame.shape[1], frame.shape[0])
    cut = frame[top:bottom, left:right]
    scale = min(room[0] / cut.shape[0], room[1] / cut.shape[1])
    size = max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))
    enlarged = np.asarray(
        cv2.resize(cut, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), dtype=np.uint8
    )
    placed = (boxes - np.array([left, top, left, top], dtype=np.float32)) * np.float32(scale)
    found = Detections(placed.astype(np.float32), np.ones(len(chosen), dtype=np.float32), image.labels[chosen])
    return draw_detections(enlarged, found, classes, show_scores=False)


def _surroundings(boxes: NDArray[np.float32], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """x1 y1 x2 y2 of the part to show, in whole pixels."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    limit = np.array([shape[1], shape[0]])
    reach = np.maximum((high - low) * (0.5 + AROUND), LEAST_CUT / 2)
    centre = np.clip((low + high) / 2, 0, limit - 1)
    x1, y1 = np.floor(np.maximum(centre - reach, 0)).astype(int).tolist()
    x2, y2 = np.ceil(np.minimum(centre + reach, limit)).astype(int).tolist()
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def _name(example: Example) -> str:
    assert example.image is not None
    names = [image.path.name for image in (example.image, example.beside) if image is not None]
    return " | ".join(name if len(name) <= 24 else f"...{name[-21:]}" for name in names)
