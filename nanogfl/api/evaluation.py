"""`evaluate`: average precision of a model file on annotated images."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanogfl.api.model import Model, open_model, require_there
from nanogfl.api.tell import teller
from nanogfl.errors import UserError, require

if TYPE_CHECKING:
    from nanogfl.data.dataset import ImageRecord
    from nanogfl.evaluation.coco_ap import Report
    from nanogfl.evaluation.frequency import FrequencyReport
    from nanogfl_deploy.runtime import Detector

_MOST_LISTED = 50
"""problems of a data set that are told one by one"""


@dataclass(frozen=True)
class Evaluation:
    """The figures of `evaluate`."""

    report: "Report"
    """`report.ap`, `ap50`, `ap75`, ... from 0 to 1 (None: not measured), and `report.classes` with those per class"""
    frequency: "FrequencyReport | None"
    """AP of rare, common and frequent classes, where that was asked for"""
    notes: tuple[str, ...]
    """what was left out, mended or matched by name on the way"""

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values."""
        figures = self.report.to_dict()
        return figures if self.frequency is None else {**figures, "frequency": self.frequency.to_dict()}


def evaluate(
    model: "Path | str | Model | Detector",
    data: Path | str | None = None,
    images: Path | str | None = None,
    *,
    voc: bool = False,
    by_frequency: bool = False,
    train_data: Path | str | None = None,
    train_images: Path | str | None = None,
    frequency_limits: tuple[int, int] = (10, 100),
    strict: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    verbose: bool = False,
) -> Evaluation:
    """Average precision by pycocotools, with the preprocessing, decoding and selection of the device.

        evaluate("best.onnx", "datasets/bccd/val.json", "datasets/bccd/val").report.ap

    Args:
        model: the path of an .onnx or a checkpoint, or what `load` or `Detector` returned.
        data: annotations: COCO or LVIS json, a VOC split list or YOLO's data.yaml; by default the validation set that
            a checkpoint names.
        images: their image folder; by default, for COCO, the path of `data` without .json.
        voc: also Pascal VOC's AP50, by area and by 11 points (`report.voc`).
        by_frequency: also AP of rare, common and frequent classes, by the training set that a checkpoint names.
        train_data, train_images: the same by this training set; COCO json needs no image folder.
        frequency_limits: the most training images of a rare and of a common class.
        strict: a bad box or a missing image raises UserError instead of being left out.
        device, threads: as for `load`; only where `model` is a path.
        verbose: print progress and notes.

    Classes are matched by name. An LVIS json is evaluated as LVIS does: federated, 300 detections per image.

    Raises UserError.
    """
    require("eval", "pycocotools", "pydantic", "yaml")
    from nanogfl.data.cache.frames import without_unreadable
    from nanogfl.data.class_counts import count_in_file
    from nanogfl.data.readers.read import load_split
    from nanogfl.evaluation.coco_ap import evaluate as run_evaluation
    from nanogfl.evaluation.frequency import by_frequency as group_by_frequency
    from nanogfl.evaluation.frequency import require_limits
    from nanogfl.evaluation.lvis_ap import MOST_DETECTIONS

    require_limits(frequency_limits)
    if train_images is not None and train_data is None:
        raise UserError("--train-images is the image folder of --train-data FILE, which is missing: give both")
    notes: list[str] = []
    tell = teller(verbose)

    def note(line: str) -> None:
        notes.append(line)
        tell(line)

    opened = open_model(model, device=device, threads=threads)
    annotations, folder = _data_of(opened, data, images)
    trained_on = None
    if by_frequency or train_data is not None:  # before the images: a wrong file ends the run at once
        train_file, train_folder = _training_of(opened, train_data, train_images)
        trained_on = count_in_file(train_file, opened.class_names, opened.category_ids, train_folder)
        for problem in trained_on.notes:
            note(f"{train_file}: {problem.where}: {problem.reason}")
    folder = _images_of(annotations, folder)
    ids, names = opened.category_ids, opened.class_names
    dataset = load_split(annotations, folder, strict=strict, class_ids=ids, class_names=names)
    dataset = without_unreadable(dataset, strict=strict)
    tell(f"{annotations}: {dataset.summary()}")
    for problem in dataset.problems[:_MOST_LISTED]:
        note(f"  left out or mended: {problem.where}: {problem.reason}")
    if len(dataset.problems) > _MOST_LISTED:
        note(f"  these are {_MOST_LISTED} of {len(dataset.problems)}, in all: {dataset.problem_summary()}")
    detect = opened.detect
    if dataset.federated is not None and opened.keep < MOST_DETECTIONS:
        if opened.keeping is None:
            note(
                f"{opened.path} delivers at most {opened.keep} detections per image, LVIS counts {MOST_DETECTIONS}:"
                f" its AP is of those {opened.keep}"
            )
        else:
            detect = opened.keeping(MOST_DETECTIONS)
    with _bar(dataset.images, verbose) as tracked:
        report = run_evaluation(detect, dataset, lambda _: tracked, voc=voc)
    frequency = None
    if trained_on is not None:
        frequency = group_by_frequency(report, trained_on.counts.tolist(), frequency_limits)
    return Evaluation(report, frequency, tuple(notes))


def _data_of(opened: Model, data: Path | str | None, images: Path | str | None) -> tuple[Path, Path | None]:
    """The annotations and, where given or known, their image folder."""
    if data is not None:
        return Path(data), None if images is None else Path(images)
    if opened.validation is None:
        raise UserError(f"{opened.path} does not say where its validation set lies: give --data FILE --images FOLDER")
    annotations, folder = opened.validation
    require_there(annotations, "--data FILE --images FOLDER")
    if images is not None:
        return annotations, Path(images)
    require_there(folder, "--images FOLDER")
    return annotations, folder


def _training_of(opened: Model, data: Path | str | None, images: Path | str | None) -> tuple[Path, Path | None]:
    if data is not None:
        return Path(data), None if images is None else Path(images)
    if opened.training is None:
        raise UserError(f"{opened.path} does not say where its training set lies: give --train-data FILE")
    return opened.training


def _images_of(annotations: Path, folder: Path | None) -> Path:
    from nanogfl.data.readers.read import is_coco

    if folder is not None:
        return folder
    if not is_coco(annotations):
        raise UserError(f"--data {annotations} needs its image folder: give --images FOLDER")
    return annotations.with_suffix("")


@contextmanager
def _bar(images: "Sequence[ImageRecord]", verbose: bool) -> "Iterator[Iterable[ImageRecord]]":
    if not verbose:
        yield images
        return
    import click

    with click.progressbar(images, label="evaluating") as bar:
        yield bar
