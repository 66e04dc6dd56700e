"""Reading a data set's images: each once at the start, so that a bad file is found then, and kept up to a limit."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.errors import UserError
from nanogfl.contract.frames import read_frame
from nanogfl.data.coco import DataSet, ImageRecord, Problem


def read_checked(image: ImageRecord) -> NDArray[np.uint8]:
    """The image as uint8 (h, w, 3) BGR. Raises UserError where it is unreadable or of another size than annotated."""
    frame = read_frame(image.path)
    if frame.shape[:2] != image.hw:
        (height, width), (found_h, found_w) = image.hw, frame.shape[:2]
        raise UserError(
            f"{image.path} is {found_w} x {found_h} but annotated as {width} x {height}"
            " (an EXIF rotation, or a replaced file?): correct one of them"
        )
    return frame


class FrameCache:
    """`get(image)` decodes an image at most once as long as the limit allows. Safe to share between threads."""

    def __init__(self, limit_gb: float) -> None:
        self._free = int(limit_gb * 1e9)
        self._frames: dict[int, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def get(self, image: ImageRecord) -> NDArray[np.uint8]:
        """uint8 (h, w, 3) BGR, not to be written to."""
        kept = self._frames.get(image.id)
        if kept is not None:
            return kept
        frame = read_checked(image)
        with self._lock:
            if image.id not in self._frames and frame.nbytes <= self._free:
                self._free -= frame.nbytes
                self._frames[image.id] = frame
        return frame


def without_unreadable(
    dataset: DataSet,
    *,
    strict: bool,
    read: Callable[[ImageRecord], NDArray[np.uint8]] = read_checked,
    threads: int = 2,
    track: Callable[[Iterable[str | None], int], Iterable[str | None]] = lambda results, _: results,
) -> DataSet:
    """Reads every image with `read`; those that fail are left out and listed in `problems`.

    `track(results, count)` may show progress. Raises UserError for the first failure with `strict`, and where no
    image is left.
    """

    def complaint(image: ImageRecord) -> str | None:
        try:
            read(image)
        except UserError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(max(1, threads)) as pool:
        complaints = list(track(pool.map(complaint, dataset.images), len(dataset.images)))
    bad = [(image, text) for image, text in zip(dataset.images, complaints, strict=True) if text]
    if bad and (strict or len(bad) == len(dataset.images)):
        raise UserError(f"{dataset.name}: {bad[0][1]} ({len(bad)} of {len(dataset.images)} images are unreadable)")
    good = tuple(image for image, text in zip(dataset.images, complaints, strict=True) if not text)
    listed = tuple(Problem(image.path.name, f"unreadable image: {text}") for image, text in bad)
    return replace(dataset, images=good, problems=dataset.problems + listed)
