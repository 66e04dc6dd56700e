"""The data sets of a run: read and checked before any training, their problems listed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanogfl.config import Config
from nanogfl.contract.errors import UserError
from nanogfl.data.cache import FrameCache, read_checked, without_unreadable
from nanogfl.data.coco import DataSet, ImageRecord, load_coco
from nanogfl.train.progress import Progress, show_reading


def load_data(config: Config, cache: FrameCache | None = None) -> tuple[DataSet, DataSet]:
    """Training and validation set with the same classes, every image read once (training images into `cache`).

    Raises UserError before any training.
    """
    root, data = Path(config.data.root), config.data
    train_set = load_coco(root / data.train.annotations, root / data.train.images, strict=data.strict)
    val_set = load_coco(
        root / data.val.annotations, root / data.val.images, strict=data.strict, class_ids=train_set.category_ids
    )
    if not any((~image.crowd).any() for image in train_set.images):
        raise UserError(
            f"{train_set.name} has no usable box in any of its {len(train_set.images)} images: nothing to learn"
        )
    if val_set.classes != train_set.classes:
        raise UserError(
            f"{val_set.name} names its categories differently from {train_set.name}: give equal ids equal names"
        )

    def readable(dataset: DataSet, read: Callable[[ImageRecord], NDArray[np.uint8]]) -> DataSet:
        return without_unreadable(dataset, strict=data.strict, read=read, threads=data.workers, track=show_reading)

    return readable(train_set, cache.get if cache else read_checked), readable(val_set, read_checked)


def list_problems(run_dir: Path, progress: Progress, *datasets: DataSet) -> None:
    """What each data set holds; what was left out or mended is counted, and written to data_problems.txt."""
    for dataset in datasets:
        progress.say(f"{dataset.name}: {dataset.summary()}")
        if dataset.problems:
            progress.say(
                f"  left out or mended: {dataset.problem_summary()}; listed in {run_dir / 'data_problems.txt'}"
            )
    lines = [f"{dataset.name}: {p.where}: {p.reason}\n" for dataset in datasets for p in dataset.problems]
    if lines:
        (run_dir / "data_problems.txt").write_text("".join(lines), encoding="utf-8")
