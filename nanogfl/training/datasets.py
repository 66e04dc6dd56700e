"""The data sets of a run: read and checked before the training, decoded once, their problems listed."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from nanogfl.config import Config
from nanogfl.contract.input_spec import InputSpec, place
from nanogfl.data.cache.frames import Frames, open_frames
from nanogfl.data.dataset import DataSet
from nanogfl.data.readers.read import load_split
from nanogfl.data.truth import Truth
from nanogfl.errors import UserError
from nanogfl.io.images import read_content
from nanogfl.training.reports.progress import Progress, show_reading

_IMAGES_TOGETHER = 32


class Data(NamedTuple):
    train: DataSet
    val: DataSet
    train_frames: Frames
    val_frames: Frames

    def digest(self) -> str:
        """SHA-256 (64 hex digits) of the classes, the images in order (name and size), and their objects.

        It does not depend on the machine or the folder, nor on the pixels.
        """
        sha = hashlib.sha256()
        for dataset in (self.train, self.val):
            sha.update(repr((dataset.classes, tuple(map(int, dataset.category_ids)))).encode())
            for image in dataset.images:
                sha.update(repr((image.path.name, tuple(map(int, image.hw)))).encode())
                sha.update(image.boxes.tobytes() + image.labels.tobytes() + image.crowd.tobytes())
        return sha.hexdigest()

    def facts(self) -> dict[str, str]:
        """For a checkpoint: its training and validation data. `saved.py` compares `data` and shows the others."""
        return {"data": self.digest(), "train_data": self.train.summary(), "val_data": self.val.summary()}

    def pixels_digest(self) -> tuple[str, str]:
        """Digests of the pixels in the training and the validation set; with cache off, of their files."""
        train = self.train_frames.digest() or _files_digest(self.train)
        return train, self.val_frames.digest() or _files_digest(self.val)


def load_data(config: Config) -> Data:
    """Reads the training and the validation set, which have the same classes. Unreadable images are left out.

    Raises UserError for data that cannot be trained on.
    """
    root, data, spec = Path(config.data.root), config.data, config.model.input
    train_set = load_split(root / data.train.annotations, root / data.train.images, strict=data.strict)
    val_set = load_split(
        root / data.val.annotations,
        root / data.val.images,
        strict=data.strict,
        class_ids=train_set.category_ids,
        class_names=train_set.classes,
    )
    require_labels(train_set, data.min_labelled)
    train_set, train_frames = open_frames(train_set, spec, data, zoom=data.cache_zoom, track=show_reading)
    # Validation frames are network inputs, which the device need not hold: they stay in memory.
    val_data = replace(data, cache="memory") if data.cache == "device" else data
    val_set, val_frames = open_frames(
        val_set, spec, val_data, in_use=train_frames.nbytes if data.cache == "memory" else 0, track=show_reading
    )
    return Data(train_set, val_set, train_frames, val_frames)


def _files_digest(dataset: DataSet) -> str:
    sha = hashlib.sha256()
    for image in dataset.images:
        sha.update(hashlib.sha256(read_content(image.path)).digest())
    return sha.hexdigest()


def require_labels(dataset: DataSet, least: float) -> None:
    """Raises UserError where no image, or a smaller share of them than `least`, has a box."""
    labelled = sum(bool((~image.crowd).any()) for image in dataset.images)
    if not labelled:
        raise UserError(
            f"{dataset.name} has no usable box in any of its {len(dataset.images)} images: nothing to learn"
            f"{_left_out(dataset)}"
        )
    if labelled < least * len(dataset.images):
        raise UserError(
            f"{dataset.name}: only {labelled} of {len(dataset.images)} images have a box, which is less than"
            f" data.min_labelled {least:g}: check that the annotations belong to these images, or set"
            f" data.min_labelled to a smaller share{_left_out(dataset)}"
        )


def _left_out(dataset: DataSet) -> str:
    crowd = sum(int(image.crowd.sum()) for image in dataset.images)
    ignored = f"; {crowd} boxes are crowd regions (iscrowd 1, difficult), which are ignored" if crowd else ""
    return ignored + (f" (left out or mended: {dataset.problem_summary()})" if dataset.problems else "")


def plain_truths(dataset: DataSet, spec: InputSpec, most: int = 1024) -> Iterator[Truth]:
    """The objects of up to `most` images, spread over the set, in network-input pixels without augmentation."""
    images = dataset.images[:: max(1, len(dataset.images) // most)]
    for first in range(0, len(images), _IMAGES_TOGETHER):
        boxes, labels, owner = [], [], []
        for number, image in enumerate(images[first : first + _IMAGES_TOGETHER]):
            objects = ~image.crowd
            boxes.append(place(image.hw, spec).boxes_to_input(image.boxes[objects]))
            labels.append(image.labels[objects])
            owner.append(np.full(objects.sum(), number))
        at, of, by = (torch.from_numpy(np.concatenate(part)) for part in (boxes, labels, owner))
        yield Truth(at, of, by, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))


def list_problems(run_dir: Path, progress: Progress, *datasets: DataSet) -> None:
    """Says what each data set holds, and how many entries were left out or mended; data_problems.txt lists them."""
    for dataset in datasets:
        progress.say(f"{dataset.name}: {dataset.summary()}")
        if dataset.problems:
            progress.say(
                f"  left out or mended: {dataset.problem_summary()}; listed in {run_dir / 'data_problems.txt'}"
            )
    lines = [f"{dataset.name}: {p.where}: {p.reason}\n" for dataset in datasets for p in dataset.problems]
    if lines:
        (run_dir / "data_problems.txt").write_text("".join(lines), encoding="utf-8")
