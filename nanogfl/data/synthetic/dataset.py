"""The embedded data set: pictures of six kinds of shapes, drawn on the spot, so that training needs no download."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nanogfl.data.synthetic.catalogue import SIX_SHAPES, Catalogue, long_tail
from nanogfl.data.synthetic.paint import background, paint, photograph
from nanogfl.data.synthetic.shapes import Stencil, contours, place_outline, render
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path

CLASSES, CATEGORY_IDS = SIX_SHAPES.classes, SIX_SHAPES.category_ids
VERSION = 1
"""Raise it when the same seed draws other pictures."""
STAMP = "synthetic.json"
_TAIL = "long_tail"
"""key of the stamp of a long-tailed drawing; other stamps lack it"""

EMPTY_SHARE = 0.1
"""share of images without objects"""
MOST_OBJECTS = 7
SIZES = (0.18, 0.55)
"""smallest and largest diameter of a shape, as a share of the image's shorter side"""
MOST_TILT = 0.4
"""largest rotation of a shape in radians, either way"""
MIN_INSIDE = 0.5
"""least share of a shape inside the image"""
MIN_VISIBLE = 0.35
"""least share of a shape's pixels that later shapes leave uncovered"""
MIN_PIXELS = 40
FIRST_VAL_INDEX = 1_000_000
"""Validation images have this index and the following ones, training images lower ones."""


@dataclass(frozen=True)
class DrawnObject:
    """One shape in a drawing."""

    label: int
    """index into the catalogue's classes (CLASSES, except in a long-tailed drawing)"""
    box: tuple[int, int, int, int]
    """x1 y1 x2 y2 in pixels: the shape, hidden parts included, clipped to the image"""
    visible: float
    """the share of the shape's pixels in the image that no later shape covers, at least MIN_VISIBLE"""


@dataclass(frozen=True)
class Drawing:
    """A picture and what is in it."""

    image: NDArray[np.uint8]
    """(h, w, 3) BGR"""
    objects: tuple[DrawnObject, ...]
    """in the order drawn: later ones cover earlier ones"""
    owner: NDArray[np.int8]
    """(h, w) the position in `objects` of the shape seen at each pixel, -1 for the background"""


def draw_image(seed: int, index: int, hw: tuple[int, int], catalogue: Catalogue = SIX_SHAPES) -> Drawing:
    """Image `index` of the data set `seed`, of this height and width; a pure function of its arguments."""
    rng = np.random.default_rng([seed, index])
    image = background(rng, hw)
    owner = np.full(hw, -1, dtype=np.int8)
    labels: list[int] = []
    stencils: list[Stencil] = []
    wanted = 0 if rng.random() < EMPTY_SHARE else int(rng.integers(1, MOST_OBJECTS + 1))
    for _ in range(wanted):
        label = catalogue.draw_label(rng)
        stencil = _find_room(rng, catalogue.shapes[label], owner, stencils)
        if stencil is None:
            continue
        owner[stencil.window][stencil.mask] = len(stencils)
        paint(rng, image, stencil, catalogue.hues[label])
        labels.append(label)
        stencils.append(stencil)
    objects = tuple(
        DrawnObject(label, stencil.box, _visible(owner, position, stencil))
        for position, (label, stencil) in enumerate(zip(labels, stencils, strict=True))
    )
    return Drawing(photograph(rng, image), objects, owner)


def image_hw(index: int, hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width of image `index`: `hw`, turned, or square, so that no code can rely on one shape."""
    square = max(32, math.isqrt(hw[0] * hw[1]) // 32 * 32)
    return (hw, hw, (hw[1], hw[0]), (square, square))[index % 4]


def draw_dataset(
    folder: Path,
    *,
    train: int,
    val: int,
    seed: int = 0,
    hw: tuple[int, int] = (240, 320),
    tail: float | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> bool:
    """Writes folder/{train,val}.json in COCO's format and folder/{train,val}/*.jpg; calls `on_image` after each image.

    With `tail` the classes are coloured shapes whose frequencies in training fall from 1 to 1 / tail (`long_tail`);
    in validation all are equally frequent, so that rare classes can be measured. Returns False, and draws nothing,
    where the same data set is there already. Raises UserError where the folder holds anything else or cannot be
    written, and ValueError for impossible numbers.
    """
    if not 0 < train <= FIRST_VAL_INDEX or not 0 < val <= FIRST_VAL_INDEX or seed < 0 or min(hw) < 32:
        raise ValueError(
            f"train and val must lie in 1 to {FIRST_VAL_INDEX}, seed be 0 or more and hw at least 32,"
            f" got train {train}, val {val}, seed {seed}, hw {hw}"
        )
    catalogues = {"train": SIX_SHAPES, "val": SIX_SHAPES}
    parameters = {"version": VERSION, "train": train, "val": val, "seed": seed, "hw": list(hw)}
    if tail is not None:
        catalogues = {"train": long_tail(tail), "val": long_tail(1)}
        parameters[_TAIL] = float(tail)
    splits = {"train": range(train), "val": range(FIRST_VAL_INDEX, FIRST_VAL_INDEX + val)}
    try:
        if _claim(folder, parameters) and all(_is_whole(folder, *split) for split in splits.items()):
            return False
        # Written first too, as incomplete: a drawing that was stopped may be drawn over, a stranger's folder may not.
        _write_json(folder / STAMP, {**parameters, "complete": False})
        for split, indices in splits.items():
            _draw_split(folder, split, indices, seed, hw, catalogues[split], on_image)
        _write_json(folder / STAMP, {**parameters, "complete": True})
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}): check the path, permissions and space"
        ) from None
    return True


def _draw_split(
    folder: Path,
    split: str,
    indices: range,
    seed: int,
    hw: tuple[int, int],
    catalogue: Catalogue,
    on_image: Callable[[], None],
) -> None:
    (folder / split).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in indices:
        height, width = image_hw(index, hw)
        drawing = draw_image(seed, index, (height, width), catalogue)
        name = _file_name(index)
        _, jpeg = cv2.imencode(".jpg", drawing.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        (folder / split / name).write_bytes(jpeg.tobytes())
        images.append({"id": index + 1, "file_name": name, "width": width, "height": height})
        for drawn in drawing.objects:
            x1, y1, x2, y2 = drawn.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": catalogue.category_ids[drawn.label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
        on_image()
    categories = [
        {"id": number, "name": name, "supercategory": ""}
        for number, name in zip(catalogue.category_ids, catalogue.classes, strict=True)
    ]
    info = {"description": f"nanogfl's synthetic shapes, version {VERSION}, seed {seed}", "license": "Apache-2.0"}
    content = {"info": info, "licenses": [], "categories": categories, "images": images, "annotations": annotations}
    _write_json(folder / f"{split}.json", content)


def _claim(folder: Path, parameters: dict[str, Any]) -> bool:
    """True: this very data set was drawn here to the end; False: it may be drawn. Raises UserError otherwise."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        folder.mkdir(parents=True, exist_ok=True)
        return False
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder that is new or empty")
    advice = "name another folder or remove this one"
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        complete = stamp["complete"]
        stamp, parameters = ({_TAIL: "none", **either} for either in (stamp, parameters))
        found = {key: stamp[key] for key in parameters}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{folder} holds files that are no drawing of this data set: {advice}") from None
    if found != parameters:
        differs = [f"{key} {found[key]} instead of {value}" for key, value in parameters.items() if found[key] != value]
        raise UserError(f"{folder} holds another drawing of this data set ({', '.join(differs)}): {advice}")
    return bool(complete)


def _is_whole(folder: Path, split: str, indices: range) -> bool:
    """Whether all files of the split are still there."""
    written = (folder / split / _file_name(index) for index in indices)
    return (folder / f"{split}.json").is_file() and all(path.is_file() for path in written)


def _file_name(index: int) -> str:
    return f"{index:07d}.jpg"


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def _find_room(rng: Generator, shape: int, owner: NDArray[np.int8], earlier: list[Stencil]) -> Stencil | None:
    """A shape of random place, size and rotation that hides no earlier one too much; None after 12 attempts."""
    height, width = owner.shape
    for _ in range(12):
        size = min(height, width) * math.exp(rng.uniform(math.log(SIZES[0]), math.log(SIZES[1])))
        outline = place_outline(
            contours(rng, shape),
            size,
            stretch=rng.uniform(0.7, 1.0),
            angle=rng.uniform(-MOST_TILT, MOST_TILT),
            centre=(rng.uniform(0, width), rng.uniform(0, height)),
        )
        stencil = render(outline, border=max(1.0, 0.05 * size), image_hw=(height, width))
        if stencil is None or stencil.inside < MIN_INSIDE or np.count_nonzero(stencil.mask) < MIN_PIXELS:
            continue
        after = owner[stencil.window]
        touched = set(after[stencil.mask].tolist()) - {-1}
        if touched:
            trial = owner.copy()
            trial[stencil.window][stencil.mask] = len(earlier)
            if any(_visible(trial, position, earlier[position]) < MIN_VISIBLE for position in touched):
                continue
        return stencil
    return None


def _visible(owner: NDArray[np.int8], position: int, stencil: Stencil) -> float:
    return np.count_nonzero(owner[stencil.window] == position) / np.count_nonzero(stencil.mask)
