"""The images that an export is compared on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanogfl.api.model import require_there
from nanogfl.data.synthetic.dataset import FIRST_VAL_INDEX, draw_image, image_hw
from nanogfl.errors import UserError
from nanogfl.io.images import IMAGE_SUFFIXES, read_frame

EMBEDDED = "embedded"
"""the value of --images for pictures that the package draws itself"""

_OTHERS = "give --images FOLDER"

Frames = Iterator[tuple[str, NDArray[np.uint8]]]


def gate_frames(checkpoint: Path, folder: Path | None, count: int) -> tuple[str, Frames]:
    """(origin in words, frames): at most `count` images, evenly spread, as (name, uint8 (h, w, 3) BGR).

    Unreadable images are left out, and the origin says so. Raises UserError where none is left.
    """
    if count < 1:
        raise UserError(f"--image-count must be at least 1, got {count}")
    if folder is not None and str(folder) == EMBEDDED and not folder.exists():
        drawn = range(FIRST_VAL_INDEX, FIRST_VAL_INDEX + count)
        return (
            f"{count} pictures of the embedded data set",
            ((f"drawn {index}", draw_image(0, index, image_hw(index, (240, 320))).image) for index in drawn),
        )
    paths, origin = _of_folder(folder) if folder is not None else _of_validation_set(checkpoint)
    step = max(1, len(paths) / count)
    chosen = [paths[int(index * step)] for index in range(min(count, len(paths)))]
    complaints = {path: text for path in chosen if (text := _complaint(path))}
    readable = [path for path in chosen if path not in complaints]
    if not readable:
        raise UserError(
            f"none of {len(chosen)} images of {origin} can be read: {complaints[chosen[0]]}; mend them, or {_OTHERS}"
        )
    names = ", ".join(path.name for path in complaints)
    left_out = f" ({len(complaints)} left out that cannot be read: {names})" if complaints else ""
    return f"{len(readable)} images of {origin}{left_out}", ((path.name, read_frame(path)) for path in readable)


def _complaint(image: Path) -> str | None:
    try:
        read_frame(image)
    except UserError as error:
        return str(error)
    return None


def _of_folder(folder: Path) -> tuple[list[Path], str]:
    if not folder.is_dir():
        raise UserError(f"--images {folder} is not a folder: expected one with images")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UserError(f"--images {folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return paths, f"folder {folder.name}"


def _of_validation_set(checkpoint: Path) -> tuple[list[Path], str]:
    from nanogfl.data.readers.read import load_split
    from nanogfl.model.checkpoint import load_checkpoint

    model = load_checkpoint(checkpoint)
    data = model.config.data
    annotations, images = (Path(data.root) / part for part in (data.val.annotations, data.val.images))
    for part in (annotations, images):
        require_there(part, "--images FOLDER")
    try:
        dataset = load_split(annotations, images, class_ids=model.category_ids, class_names=model.classes)
    except UserError as error:
        raise UserError(f"the checkpoint's validation set: {error}; or {_OTHERS}") from None
    return [image.path for image in dataset.images], "the checkpoint's validation set"
