"""Reads a data set in any of its formats."""

from pathlib import Path

from nanogfl.data.dataset import DataSet
from nanogfl.data.readers.classes import choose_classes
from nanogfl.data.readers.coco import index_coco, read_annotations, read_categories
from nanogfl.data.readers.lvis import index_lvis, is_lvis
from nanogfl.errors import UserError, missing_extra

FORMATS = "COCO's or LVIS's .json, the .txt list of a VOC split (ImageSets/Main/train.txt) or YOLO's data.yaml"


def is_coco(annotations: Path) -> bool:
    """Whether the file is read as COCO's or LVIS's json, by its suffix."""
    return annotations.suffix.lower() in (".json", "")


def load_split(
    annotations: Path | str,
    images: Path | str,
    *,
    strict: bool = False,
    class_ids: tuple[int, ...] | None = None,
    class_names: tuple[str, ...] | None = None,
) -> DataSet:
    """Reads one split of a data set. The suffix of `annotations` decides the format: see `FORMATS`.

    images: the folder of the split's images.
    class_ids, class_names: those of a model that is evaluated on it; they decide the classes and their order. Classes
    are matched by name (`choose_classes`).

    Boxes and images that cannot be used are left out and listed in `problems`. Raises UserError for files that cannot
    be read or contradict themselves, if no image can be used, and, with `strict`, for the first problem.
    """
    annotations, images = Path(annotations), Path(images)
    if is_coco(annotations):
        content = read_annotations(annotations)
        classes = choose_classes(annotations, read_categories(content, annotations), class_ids, class_names)
        index = index_lvis if is_lvis(content) else index_coco
        return index(content, annotations, images, strict=strict, classes=classes)
    match annotations.suffix.lower():
        case ".txt":
            from nanogfl.data.readers.voc import load_voc

            return load_voc(annotations, images, strict=strict, class_ids=class_ids, class_names=class_names)
        case ".yaml" | ".yml":
            try:
                from nanogfl.data.readers.yolo import load_yolo
            except ModuleNotFoundError as error:
                raise missing_extra(error.name or "yaml", "eval") from None
            return load_yolo(annotations, images, strict=strict, class_ids=class_ids, class_names=class_names)
        case suffix:
            raise UserError(f"{annotations} ends in {suffix}, but annotations are {FORMATS}: give one of these")
