"""How many images hold each class. No torch."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.dataset import DataSet, Problem
from nanogfl.data.readers.classes import choose_classes
from nanogfl.data.readers.coco import read_annotations, read_categories
from nanogfl.data.readers.read import is_coco, load_split
from nanogfl.data.readers.values import to_flag, to_whole
from nanogfl.errors import UserError

RARE = 10
"""most training images that hold a rare class (LVIS, arXiv:1908.03195)"""
_IDS = ("image_id", "category_id")


def boxes_per_class(dataset: DataSet) -> NDArray[np.int64]:
    """(C,) objects of each class; crowd regions do not count."""
    labels = [image.labels[~image.crowd] for image in dataset.images]
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *labels]), minlength=len(dataset.classes))


def images_per_class(dataset: DataSet) -> NDArray[np.int64]:
    """(C,) images with at least one object of the class; crowd regions do not count."""
    held = [np.unique(image.labels[~image.crowd]) for image in dataset.images]
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *held]), minlength=len(dataset.classes))


class ClassImages(NamedTuple):
    counts: NDArray[np.int64]
    """(C,) images with at least one object of the class"""
    notes: tuple[Problem, ...]
    """how the file's classes differ from those asked for"""


def count_in_file(
    annotations: Path | str, classes: tuple[str, ...], category_ids: tuple[int, ...], images: Path | str | None = None
) -> ClassImages:
    """`images_per_class` of a training set's annotations, its classes matched by name (`choose_classes`).

    `images`: the image folder, which a COCO json does not need. Raises UserError if the file lacks one of the classes,
    and so belongs to another data set.
    """
    annotations = Path(annotations)
    if not is_coco(annotations):
        if images is None:
            raise UserError(
                f"the labels of {annotations} are found by its images: give their folder, too (eval: --train-images)"
            )
        dataset = load_split(annotations, images, class_ids=category_ids, class_names=classes)
        return ClassImages(images_per_class(dataset), dataset.problems)
    content = read_annotations(annotations)
    chosen = choose_classes(annotations, read_categories(content, annotations), category_ids, classes)
    held: list[set[int]] = [set() for _ in category_ids]
    for entry in content["annotations"]:
        image, category = (to_whole(entry.get(key)) if isinstance(entry, dict) else None for key in _IDS)
        if image is None or category is None:
            raise UserError(
                f"{annotations}: annotation {str(entry)[:80]} needs whole numbers as 'image_id' and 'category_id'"
            )
        label = chosen.label_of.get(category)
        if label is not None and to_flag(entry.get("iscrowd", 0)) is False:
            held[label].add(image)
    return ClassImages(np.array([len(images) for images in held], dtype=np.int64), chosen.notes)
