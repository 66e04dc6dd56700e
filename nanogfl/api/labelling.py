"""`label`: a model proposes labels for a folder of images, to be corrected in a labelling tool."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from nanogfl.api.label_folder import LabelFolder, LabelFormat
from nanogfl.api.model import Model, open_model
from nanogfl.api.tell import teller
from nanogfl.contract.detections import Detections
from nanogfl.contract.shown_score import SHOWN_SCORE
from nanogfl.errors import UserError

if TYPE_CHECKING:
    from nanogfl.data.dataset import ImageRecord, Problem
    from nanogfl_deploy.runtime import Detector

_LISTED = 20
"""images left out that are told one by one"""


@dataclass(frozen=True)
class Labels:
    """What `label` wrote."""

    folder: Path
    order: tuple[tuple[str, float, int], ...]
    """(name relative to the labelled folder, doubt, number of boxes) of each image, most doubt first"""
    kept: int
    """number of images whose label file was there and stays as it was"""
    left_out: tuple[str, ...]
    """a sentence per image without a label"""


def label(
    folder: Path | str,
    output: Path | str,
    model: "Path | str | Model | Detector",
    *,
    output_format: LabelFormat = "coco",
    threshold: float = SHOWN_SCORE,
    force: bool = False,
    threads: int | None = None,
    verbose: bool = False,
) -> Labels:
    """Writes the labels that a model proposes for a folder of images, and order.csv: the images by falling doubt.

        labels = label("photos", "proposals", "best.onnx", output_format="yolo")
        name, doubt, boxes = labels.order[0]

    `output` becomes a data set that `train` reads: a link to the images, and for coco labels.json, for yolo data.yaml
    and labels/NAME.txt, for voc Annotations/NAME.xml and ImageSets/Main/all.txt. Existing files are not changed. Label
    files that are there stay as they are, so that a stopped run can be started again; order.csv is written last.

    Args:
        folder: the images, those of nested folders included.
        output: the folder of the labels, not in `folder`.
        model: the path of an .onnx or a checkpoint, or what `load` or `Detector` returned.
        output_format: "coco", "yolo" or "voc".
        threshold: the lowest score of a proposed box.
        force: write over existing files.
        threads: as for `load`; only where `model` is a path.
        verbose: print what happens.

    `nanogfl.evaluation.doubt.doubt` computes the doubt. Raises UserError; an unreadable image is left out and
    listed.
    """
    from nanogfl.data.readers.files_below import files_below
    from nanogfl.evaluation.doubt import doubt
    from nanogfl.io.images import IMAGE_SUFFIXES, read_picture

    folder, output, tell = Path(folder), Path(output), teller(verbose)
    if output_format not in get_args(LabelFormat):
        raise UserError(f"--format must be one of {', '.join(get_args(LabelFormat))}, got {output_format}")
    if not 0 <= threshold <= 1:
        raise UserError(f"--threshold must lie in 0 to 1, got {threshold}")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: expected one with images")
    detector = open_model(model, threads=threads)
    written = LabelFolder(output, folder, detector.class_names, output_format, force=force)
    problems: list[Problem] = []
    paths = [path for path in files_below(folder, problems) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise UserError(f"{folder} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}): name a folder that has some")
    left_out = [f"{where}: {reason}" for where, reason in problems]
    names = {}
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if reason := written.why_not(name):
            left_out.append(f"{name}: {reason}")
        else:
            names[path] = name
    if complaint := written.begin(list(names.values())):
        tell(complaint)
    order = []
    noted: dict[str, list[str]] = {}
    for number, path in enumerate(_shown(list(names), verbose), start=1):
        try:
            frame, notes = read_picture(path)
        except UserError as error:
            left_out.append(str(error))
            continue
        for note in notes:
            noted.setdefault(note.partition(":")[0], []).append(f"{names[path]}: {note}")
        found = detector(frame)
        proposed = found.above(threshold)
        written.add(names[path], _record(number, path, (frame.shape[0], frame.shape[1]), proposed))
        order.append((names[path], doubt(found, threshold), len(proposed)))
    if not order:
        raise UserError(f"none of the {len(paths)} images of {folder} can be labelled, first: {left_out[0]}")
    order.sort(key=lambda entry: (-entry[1], entry[0]))
    written.finish(detector.category_ids, order, detector.path.name)
    for sentence in left_out[:_LISTED]:
        tell(f"left out: {sentence}")
    if len(left_out) > _LISTED:
        tell(f"left out: {len(left_out) - _LISTED} more")
    for lines in noted.values():
        tell(f"{lines[0]}{f' (and {len(lines) - 1} more)' if len(lines) > 1 else ''}")
    return Labels(output, tuple(order), written.kept, tuple(left_out))


def _record(number: int, path: Path, hw: tuple[int, int], found: Detections) -> "ImageRecord":
    from nanogfl.data.dataset import ImageRecord

    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    crowd = np.zeros(len(found), dtype=np.bool_)
    return ImageRecord(number, path, hw, found.boxes, found.labels, sides.prod(axis=1), crowd, measured=True)


def _shown(paths: Sequence[Path], verbose: bool) -> Iterator[Path]:
    """The paths, with a bar in a terminal."""
    if not verbose or not sys.stderr.isatty():
        yield from paths
        return
    import click

    with click.progressbar(paths, label="labelling", file=sys.stderr) as bar:
        yield from bar
