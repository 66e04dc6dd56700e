"""Frames: the pixels of a data set's images, decoded once and kept in a shared file, in memory, or not at all."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from nanogfl.config import DataConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.cache.ahead import Track, available_threads, map_ahead
from nanogfl.data.cache.limit import size_text
from nanogfl.data.cache.slot import Slot, Stored, checksum
from nanogfl.data.cache.store import store_frames
from nanogfl.data.dataset import DataSet, ImageRecord, Problem
from nanogfl.errors import UserError
from nanogfl.io.cache_folder import cache_folder, expand_user
from nanogfl.io.images import Picture, read_picture


def read_checked(image: ImageRecord) -> NDArray[np.uint8]:
    """The image as uint8 (h, w, 3) BGR. Raises UserError if it is unreadable or not of the annotated size."""
    return _picture(image).frame


def _picture(image: ImageRecord) -> Picture:
    picture = read_picture(image.path)
    if text := _size_complaint(image, picture.frame.shape[0], picture.frame.shape[1]):
        raise UserError(text)
    return picture


def _size_complaint(image: ImageRecord, found_h: int, found_w: int) -> str | None:
    if (found_h, found_w) == image.hw:
        return None
    height, width = image.hw
    advice = (
        "(an EXIF rotation?): nanogfl data check tells which of them to correct"
        if (found_w, found_h) == image.hw
        else "(a replaced or resized file?): correct one of them"
    )
    return f"{image.path} is {found_w} x {found_h} but annotated as {width} x {height} {advice}"


class Frames:
    """The pixels of a data set's images. Safe to share between threads."""

    def __init__(self, images: Sequence[ImageRecord], slot: Slot, stored: Stored) -> None:
        self._images = images
        self.slots: NDArray[np.uint8] | None = stored.slots
        """uint8 (S, H', W', 3) BGR, read-only: mapped from a file, which may hold images of other data sets, too, or in
        memory; None with cache off"""
        self.slot_of: NDArray[np.int64] = stored.slot_of
        """(n,) the slot of each image; -1 with cache off"""
        self.content_hw: NDArray[np.int64] = stored.source_hw
        """(n, 2) height and width of what `get` returns; the rest of a slot is padding (the input's pad_value)"""
        if stored.slots is not None:
            sizes = [slot.content_hw((height, width)) for height, width in stored.source_hw.tolist()]
            self.content_hw = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        self._checksums = stored.checksums
        self.decoded = stored.decoded
        """how many images were decoded and kept now; the others were there, or have the same bytes as another"""
        self.nbytes = 0 if stored.slots is None else len(np.unique(self.slot_of)) * slot.nbytes
        """bytes of this data set's slots"""
        self.summary = (
            f"{len(images)} images are decoded whenever they are used"
            if stored.slots is None
            else f"{self.decoded} decoded, {len(images) - self.decoded} reused, {size_text(self.nbytes)}"
            f" in {stored.where}"
        )
        """for people: '292 decoded, 0 reused, 90 MB in FOLDER'"""

    def digest(self) -> str | None:
        """32 hex digits of all pixels in the images' order, equal for every cache; None with cache off."""
        if self.slots is None:
            return None
        return blake2b(self._checksums.tobytes() + self.content_hw.tobytes(), digest_size=16).hexdigest()

    def get(self, index: int) -> NDArray[np.uint8]:
        """uint8 (h', w', 3) BGR of image `index`, read-only: a view of its slot, without padding.

        With cache off it is the whole source frame, read now; raises UserError where that fails.
        """
        if self.slots is None:
            return read_checked(self._images[index])
        height, width = self.content_hw[index]
        content = self.slots[self.slot_of[index], :height, :width]
        content.flags.writeable = False
        return content


def open_frames(
    dataset: DataSet,
    spec: InputSpec,
    data: DataConfig,
    *,
    zoom: float = 1.0,
    in_use: int = 0,
    track: Track = lambda results, _: results,
) -> tuple[DataSet, Frames]:
    """The data set without its unreadable images, which are listed in its `problems`, and the pixels of the others.

    Images that the cache lacks are decoded now, in threads; `track(results, count)` may show progress. `in_use`: bytes
    of data.memory_gb that other Frames take. Raises UserError for the first unreadable image if data.strict is set, if
    no image is left, if data.memory_gb is too small, and for a cache folder that cannot be used.
    """
    slot = Slot.of(spec, zoom)
    match data.cache:
        case "memmap":
            folder = (
                expand_user(data.cache_dir, "data.cache_dir")
                if data.cache_dir
                else cache_folder("frames", ", or data.cache to memory")
            )
            stored = store_frames(folder, [image.path for image in dataset.images], slot, track)
        case "memory" | "device":
            _require_memory(dataset, slot, data, in_use)
            stored = _read_all(dataset, np.zeros((len(dataset.images), *slot.shape), dtype=np.uint8), slot, track)
        case "off":
            stored = _read_all(dataset, None, slot, track)
    complaints = [
        text or _size_complaint(image, *found)
        for image, text, found in zip(dataset.images, stored.complaints, stored.source_hw.tolist(), strict=True)
    ]
    kept = _leave_out(dataset, complaints, stored.notes, data.strict)
    good = np.array([text is None for text in complaints])
    kept_rows = replace(
        stored,
        slot_of=stored.slot_of[good],
        source_hw=stored.source_hw[good],
        checksums=stored.checksums[good],
    )
    return kept, Frames(kept.images, slot, kept_rows)


def without_unreadable(dataset: DataSet, *, strict: bool, track: Track = lambda results, _: results) -> DataSet:
    """The data set without its unreadable images, for an evaluation that reads whole source frames.

    Reads every image once. Lists problems and raises UserError as `open_frames` does.
    """
    notes: list[tuple[str, ...]] = [()] * len(dataset.images)

    def complaint(index: int) -> str | None:
        try:
            notes[index] = _picture(dataset.images[index]).notes
        except UserError as error:
            return str(error)
        return None

    results = map_ahead(complaint, range(len(dataset.images)), available_threads())
    return _leave_out(dataset, list(track(results, len(dataset.images))), notes, strict)


def _read_all(dataset: DataSet, slots: NDArray[np.uint8] | None, slot: Slot, track: Track) -> Stored:
    """Decodes every image, into the slot of its number if there are slots."""
    count = len(dataset.images)
    source_hw = np.zeros((count, 2), dtype=np.int64)
    checksums = np.zeros(count, dtype=np.uint32)
    notes: list[tuple[str, ...]] = [()] * count

    def read(index: int) -> str | None:
        try:
            frame, notes[index] = read_picture(dataset.images[index].path)
        except UserError as error:
            return str(error)
        source_hw[index] = frame.shape[:2]
        if slots is not None:
            slot.fill(frame, slots[index])
            checksums[index] = checksum(slots[index])
        return None

    complaints = list(track(map_ahead(read, range(count), available_threads()), count))
    slot_of = np.full(count, -1) if slots is None else np.arange(count)
    decoded = sum(text is None for text in complaints)
    return Stored(slots, slot_of.astype(np.int64), source_hw, checksums, complaints, notes, decoded, "memory")


def _require_memory(dataset: DataSet, slot: Slot, data: DataConfig, in_use: int) -> None:
    needed = len(dataset.images) * slot.nbytes
    if in_use + needed > data.memory_gb * 1e9:
        beside = f" beside the {size_text(in_use)} in use" if in_use else ""
        raise UserError(
            f"{dataset.name}: data.cache {data.cache} needs {needed:,} bytes ({len(dataset.images)} images of"
            f" {slot.hw[1]} x {slot.hw[0]}){beside}, but data.memory_gb allows {data.memory_gb:g} GB: raise"
            " data.memory_gb, lower data.cache_zoom, or set data.cache to memmap"
        )


def _leave_out(
    dataset: DataSet, complaints: Sequence[str | None], notes: Sequence[tuple[str, ...]], strict: bool
) -> DataSet:
    """The data set without the images that have a complaint; its `problems` list these, and the notes of the others."""
    bad = [(image, text) for image, text in zip(dataset.images, complaints, strict=True) if text]
    if bad and (strict or len(bad) == len(dataset.images)):
        raise UserError(f"{dataset.name}: {bad[0][1]} ({len(bad)} of {len(dataset.images)} images are unreadable)")
    good = tuple(image for image, text in zip(dataset.images, complaints, strict=True) if not text)
    listed = tuple(Problem(image.path.name, f"unreadable image: {text}") for image, text in bad)
    noted = tuple(
        Problem(image.path.name, note)
        for image, text, own in zip(dataset.images, complaints, notes, strict=True)
        if not text
        for note in own
    )
    return replace(dataset, images=good, problems=dataset.problems + listed + noted)
