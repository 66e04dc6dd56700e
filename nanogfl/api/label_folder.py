"""The folder that `label` writes: a data set in one of three formats, in which no existing file is changed."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.data.readers.write_coco import write_coco
from nanogfl.data.readers.write_voc import voc_xml
from nanogfl.data.readers.write_yolo import data_yaml, yolo_label
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.io.printable import printable

LabelFormat = Literal["coco", "yolo", "voc"]

ORDER, COCO, VOC_LIST = "order.csv", "labels.json", "ImageSets/Main/all.txt"
_LAST: dict[LabelFormat, tuple[str, ...]] = {"coco": (COCO, ORDER), "yolo": (ORDER,), "voc": (VOC_LIST, ORDER)}
"""what is written when all images are done"""
_IMAGES: dict[LabelFormat, str] = {"coco": "images", "yolo": "images", "voc": "JPEGImages"}
"""the link to the images"""


class LabelFolder:
    """Labels at `path` for the images of the folder `images`. Names of images are relative to it, with `/`.

    Raises UserError for classes that the format cannot hold, for a finished run at `path`, and where `path` and
    `images` contain one another. `force`: existing files are written over.
    """

    def __init__(
        self, path: Path, images: Path, classes: Sequence[str], output_format: LabelFormat, *, force: bool
    ) -> None:
        self.path, self.images, self.classes, self.format, self.force = path, images, classes, output_format, force
        _require_apart(path, images)
        _require_names(classes, output_format)
        for name in _LAST[output_format]:
            if (path / name).exists() and not force:
                raise UserError(
                    f"{path / name} is already there: name another folder with -o, give --force to write all labels"
                    " anew, or remove that file to label only the images without a label file"
                )
        self.kept = 0
        """images whose label file was there"""
        self._records: list[ImageRecord] = []

    def label_file(self, name: str) -> Path | None:
        """The label file of an image; None in COCO's format, which has one file for all."""
        match self.format:
            case "coco":
                return None
            case "yolo":
                return self.path / "labels" / Path(name).with_suffix(".txt")
            case "voc":
                return self.path / "Annotations" / Path(name).with_suffix(".xml")

    def why_not(self, name: str) -> str | None:
        """Why an image of this name cannot have a label; None if it can."""
        if printable(name) != name:
            return "its name has control characters or is not UTF-8: rename it"
        if self.format == "yolo" and Path(name).stem == "classes":
            return "classes.txt, its label file, is where tools keep the class names: rename it"
        if self.format == "voc" and name != name.strip():
            return "its name begins with a blank, which a VOC list cannot hold: rename it, or take --format coco"
        return None

    def begin(self, names: Sequence[str]) -> str | None:
        """Makes the folder and the link to the images. `names`: of the images that can be labelled.

        Returns a sentence where the link could not be made. Raises UserError for two images with one label file, and
        for files that were written for other classes.
        """
        owner: dict[Path, str] = {}
        for name in names:
            if self.format == "yolo" and any(part.lower() in ("images", "jpegimages") for part in Path(name).parts):
                raise UserError(
                    f"{self.images / name}: YOLO's readers look for labels beside the last folder called"
                    f" {_images_part(name)}: name that folder itself, or take --format coco or voc"
                )
            file = self.label_file(name)
            if file is not None and owner.setdefault(file, name) != name:
                raise UserError(
                    f"{owner[file]} and {name} would have the same label file: rename one, or take --format coco"
                )
        complaint = self._link()
        if self.format == "yolo":
            listed = "".join(f"{name}\n" for name in self.classes).encode()
            described = data_yaml(self.classes, _IMAGES["yolo"]).encode()
            for own, content in (("data.yaml", described), ("classes.txt", listed), ("labels/classes.txt", listed)):
                self._put(self.path / own, content)
        return complaint

    def add(self, name: str, record: ImageRecord) -> None:
        """Writes the label of one image, unless its file is there."""
        self._records.append(record)
        file = self.label_file(name)
        if file is None:
            return
        if file.exists() and not self.force:
            self.kept += 1
            return
        content = yolo_label(record).encode() if self.format == "yolo" else voc_xml(record, name, self.classes)
        _write(file, content)

    def finish(self, category_ids: Sequence[int], order: Sequence[tuple[str, float, int]], origin: str) -> None:
        """Writes what needs all images, order.csv last."""
        match self.format:
            case "coco":
                classes, ids = tuple(self.classes), tuple(category_ids)
                write_coco(DataSet(origin, classes, ids, tuple(self._records), ()), self.images, self.path / COCO)
            case "voc":
                names = [record.path.relative_to(self.images).as_posix() for record in self._records]
                _write(self.path / VOC_LIST, "".join(f"{name}\n" for name in names).encode())
        table = io.StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(["image", "doubt", "boxes"])
        rows.writerows((name, f"{value:.4f}", boxes) for name, value, boxes in order)
        _write(self.path / ORDER, table.getvalue().encode())

    def _put(self, file: Path, content: bytes) -> None:
        if file.exists() and not self.force and file.read_bytes() != content:
            raise UserError(f"{file} is there with other classes: name another folder with -o, or give --force")
        _write(file, content)

    def _link(self) -> str | None:
        link = self.path / _IMAGES[self.format]
        if link.exists() and os.path.realpath(link) == os.path.realpath(self.images):
            return None
        if os.path.lexists(link):
            raise UserError(
                f"{link} is there and is not {self.images}, to which the labels belong: name another folder with -o"
            )
        target = os.path.relpath(os.path.realpath(self.images), os.path.realpath(self.path))
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target, target_is_directory=True)
        except OSError as error:
            return f"{link} could not be linked to {self.images} ({error.strerror}): put a copy of the images there"
        return None


def _write(file: Path, content: bytes) -> None:
    with atomic_path(file) as temporary:
        temporary.write_bytes(content)


def _images_part(name: str) -> str:
    return next(part for part in reversed(Path(name).parts) if part.lower() in ("images", "jpegimages"))


def _require_apart(path: Path, images: Path) -> None:
    """The link to the images would lead into itself, and labels would lie among the user's images."""
    ours, theirs = Path(os.path.realpath(path)), Path(os.path.realpath(images))
    if ours.is_relative_to(theirs):
        raise UserError(
            f"the labels would be written into the folder of the images, {images}: name one beside it with -o"
        )


def _require_names(classes: Sequence[str], output_format: LabelFormat) -> None:
    if output_format == "coco":
        return
    doubled = next((name for number, name in enumerate(classes) if name in classes[:number]), None)
    if doubled is not None:
        raise UserError(
            f"the model has two classes named '{doubled}', which {output_format} cannot tell apart: take coco"
        )
    bad = next(
        (name for name in classes if printable(name) != name or " ".join(name.split()) != name or not name), None
    )
    if bad is not None:
        raise UserError(f"the class name {bad[:80]!r} cannot be written as {output_format}: take --format coco")
