"""A VOC data set written by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

BOX = "<bndbox><xmin>5</xmin><ymin>7</ymin><xmax>25</xmax><ymax>17</ymax></bndbox>"
SIZE = "<size><width>100</width><height>60</height><depth>3</depth></size>"


def box(x1: object, y1: object, x2: object, y2: object) -> str:
    return f"<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"


def thing(name: str = "cat", inside: str = BOX) -> str:
    return f"<object><name>{name}</name>{inside}</object>"


def xml(*objects: str, filename: str = "", size: str = SIZE, database: str = "Unknown") -> str:
    source = f"<source><database>{database}</database></source>"
    named = f"<filename>{filename}</filename>" if filename else ""
    return f"<annotation>{named}{source}{size}{''.join(objects)}</annotation>"


def write_voc(
    root: Path,
    files: Mapping[str, str | bytes],
    listed: Sequence[str] | str | bytes | None = None,
    *,
    draw: bool = True,
) -> tuple[Path, Path]:
    """name -> xml; the list's names, or its text. Returns list and image folder; images are 100 wide, 60 high."""
    (root / "Annotations").mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    (root / "ImageSets/Main").mkdir(parents=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (root / f"Annotations/{name}.xml").write_bytes(data)
        if draw:
            draw_image(root / f"JPEGImages/{name}.png")
    split = root / "ImageSets/Main/train.txt"
    text = "".join(f"{name}\n" for name in files) if listed is None else listed
    if not isinstance(text, str | bytes):
        text = "".join(f"{name}\n" for name in text)
    split.write_bytes(text if isinstance(text, bytes) else text.encode())
    return split, root / "JPEGImages"


def draw_image(path: Path, width: int = 100, height: int = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
