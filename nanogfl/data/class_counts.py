"""How many images hold each class: what is rare and what is frequent. No torch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.errors import UserError
from nanogfl.data.coco import read_annotations, read_categories
from nanogfl.data.index import DataSet
from nanogfl.data.read import is_coco, load_split
from nanogfl.data.values import to_flag, to_whole

_IDS = ("image_id", "category_id")


def images_per_class(dataset: DataSet) -> NDArray[np.int64]:
    """(C,) images with at least one object of the class; crowd regions are none."""
    held = [np.unique(image.labels[~image.crowd]) for image in dataset.images]
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *held]), minlength=len(dataset.classes))


def count_in_file(
    annotations: Path | str, classes: tuple[str, ...], category_ids: tuple[int, ...], images: Path | str | None = None
) -> NDArray[np.int64]:
    """(C,) the same for the annotations of a training set. The images of a COCO json need not be there; of other
    formats `images` is the folder, and the classes are found by their names.

    UserError where it is another set: it lacks one of the category ids, or names it differently.
    """
    annotations = Path(annotations)
    if not is_coco(annotations):
        if images is None:
            raise UserError(
                f"the labels of {annotations} are found by its images: give their folder, too (eval: --train-images)"
            )
        return images_per_class(load_split(annotations, images, class_ids=category_ids, class_names=classes))
    content = read_annotations(annotations)
    names = read_categories(content, annotations)
    for name, number in zip(classes, category_ids, strict=True):
        if names.get(number) != name:
            found = f"it is '{names[number]}' there" if number in names else "it has none with this id"
            raise UserError(
                f"{annotations} is not the training set of these classes: category {number} should be '{name}', and"
                f" {found}; give the COCO json that the model was trained on"
            )
    label_of = {number: label for label, number in enumerate(category_ids)}
    held: list[set[int]] = [set() for _ in category_ids]
    for entry in content["annotations"]:
        image, category = (to_whole(entry.get(key)) if isinstance(entry, dict) else None for key in _IDS)
        if image is None or category is None:
            raise UserError(
                f"{annotations}: annotation {str(entry)[:80]} needs whole numbers as 'image_id' and 'category_id'"
            )
        label = label_of.get(category)
        if label is not None and to_flag(entry.get("iscrowd", 0)) is False:
            held[label].add(image)
    return np.array([len(images) for images in held], dtype=np.int64)
