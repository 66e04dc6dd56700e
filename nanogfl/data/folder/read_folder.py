"""Reads a data set from a folder as its owner left it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nanogfl.config import SplitConfig
from nanogfl.data.dataset import DataSet, Problem
from nanogfl.data.folder.build import build, choose_names
from nanogfl.data.folder.candidate import Candidate
from nanogfl.data.folder.csv_files import read_csv_files
from nanogfl.data.folder.json_files import read_json_files
from nanogfl.data.folder.part_names import PARTS
from nanogfl.data.folder.parts import divide
from nanogfl.data.folder.survey import Survey
from nanogfl.data.folder.unknown import not_recognised, unknown_sentences
from nanogfl.data.folder.xml_files import read_xml_files
from nanogfl.data.folder.yolo_files import read_yolo_files
from nanogfl.data.readers.yolo_labels import find_layout
from nanogfl.errors import UserError
from nanogfl.io.printable import printable

FORMATS = {
    "coco": "COCO json",
    "cvat": "CVAT xml",
    "voc": "VOC xml",
    "labelme": "LabelMe json",
    "createml": "CreateML json",
    "yolo": "YOLO text",
    "csv": "csv tables",
}
"""name -> description. Of formats that annotate equally many images, the first counts."""
_MOST_CLASSES = 8
"""named in the summary"""


@dataclass(frozen=True)
class Found:
    """What a folder holds."""

    root: Path
    format: str
    """a key of `FORMATS`"""
    splits: Mapping[str, DataSet]
    """train, and val and test where the folder has them; their `problems` list what was left out"""
    sources: Mapping[str, SplitConfig | None]
    """how `load_split` reads a split from the folder; None where only `read_folder` can"""
    remarks: tuple[str, ...]
    """a sentence for each guess and decision"""


def read_folder(
    root: Path | str,
    *,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    train: Path | str | None = None,
    val: Path | str | None = None,
) -> Found:
    """Finds out which format the annotations in a folder have, where its images are, and how it is split.

    format: a key of `FORMATS`. By default the one that annotates most images.
    classes: YOLO: the names of the class numbers 0, 1, ...; other formats: the classes that are used, in this order.
    train, val: a folder, a .txt list of images, or an annotation file in the root, which is that split.

    Nothing outside of the root is read, but links in it are followed. Image ids count the images by path, or are those
    of a COCO json. Raises UserError if no format is recognised, or no image or box can be used.
    """
    root = Path(root)
    _require_options(format, classes)
    survey = Survey(root)
    candidates, unread = _candidates(survey)
    candidate, remarks = _choose(survey, candidates, unread, format)
    parts = divide(survey, candidate, Path(train) if train else None, Path(val) if val else None, remarks)
    names = choose_names(candidate, [item for items in parts.values() for item in items], classes, remarks)
    if not names:
        raise UserError(_without_boxes(root, candidate.problems))
    if candidate.format == "yolo":  # one layout for all splits
        labels = [item.source for items in parts.values() for item in items if item.source != item.image]
        layout = find_layout(labels, candidate.keypoints)
        candidate.keypoints = layout.keypoints
        remarks += [layout.said] if layout.said else []
    splits: dict[str, DataSet] = {}
    sources: dict[str, SplitConfig | None] = {}
    for part, items in parts.items():
        try:
            splits[part], sources[part] = build(survey, candidate, items, names)
        except UserError as error:
            if part == "train":
                raise
            remarks.append(f"{part} is left out: {error}")
    for part in set(splits) - {"train"}:
        if not any((~image.crowd).any() for image in splits[part].images):
            remarks.append(f"{part} is left out: none of its {len(splits.pop(part).images)} images has a usable box")
            del sources[part]
    problems = *splits["train"].problems, *candidate.problems, *survey.problems
    splits["train"] = replace(splits["train"], problems=problems)
    if not any((~image.crowd).any() for image in splits["train"].images):
        raise UserError(
            _without_boxes(root, splits["train"].problems, sum(len(i.boxes) for i in splits["train"].images))
        )
    if candidate.format != "yolo" and (bare := len(survey.images) - len({item.image for item in candidate.items})):
        remarks.append(f"{bare} of {len(survey.images)} images are not annotated and are left out")
    used = {item.image for items in parts.values() for item in items}
    if unclear := [(path, name) for path, name in survey.unclear.items() if path in used]:
        path, name = unclear[0]
        shown = f"{name[:200]} is taken as {survey.relative(path).as_posix()}"
        remarks.append(f"{len(unclear)} names fit several images, and the first by path is taken: {shown}")
    if candidate.renamed:
        written, there = next(iter(candidate.renamed.items()))
        remarks.append(f"{len(candidate.renamed)} images are found under another name: {written[:200]} is {there}")
    said = dict.fromkeys(printable(remark) for remark in (*survey.remarks, *candidate.remarks, *remarks, *unread))
    return Found(root, candidate.format, splits, sources, tuple(said))


def summary(found: Found) -> str:
    """Three lines: the format, the splits with their counts, the classes with the boxes of each in train."""
    lines = [f"format: {FORMATS[found.format]} in {found.root}"]
    counts = [f"{part} {_counted(found.splits[part])}" for part in PARTS if part in found.splits]
    if "val" not in found.splits:
        counts.insert(1, "no val")
    lines.append(f"splits: {', '.join(counts)}")
    train = found.splits["train"]
    boxes = np.zeros(len(train.classes), dtype=np.int64)
    for image in train.images:
        np.add.at(boxes, image.labels[~image.crowd], 1)
    shown = [f"{name} {count}" for name, count in zip(train.classes, boxes.tolist(), strict=True)][:_MOST_CLASSES]
    more = f" and {len(boxes) - len(shown)} more" if len(boxes) > len(shown) else ""
    lines.append(f"classes: {len(boxes)}, with their boxes in train: {', '.join(shown)}{more}")
    return "\n".join(printable(line) for line in lines)


def _counted(dataset: DataSet) -> str:
    boxes = sum(int((~image.crowd).sum()) for image in dataset.images)
    return f"{len(dataset.images):,} images with {boxes:,} boxes"


def _require_options(format: str | None, classes: Sequence[str] | None) -> None:
    if format is not None and format not in FORMATS:
        raise UserError(f"--format {format} is not known: choose one of {', '.join(FORMATS)}")
    if classes is not None:
        if isinstance(classes, str) or not classes or not all(name.strip() for name in classes):
            raise UserError("--classes needs the names of the classes, one after the other")
        if doubles := {name for name in classes if list(classes).count(name) > 1}:
            raise UserError(f"--classes gives {doubles.pop()} twice: give each class once")


def _candidates(survey: Survey) -> tuple[list[Candidate], list[str]]:
    """Every format's candidate, in the order of `FORMATS`, and sentences about files that are not read."""
    from_json, unread = read_json_files(survey)
    yolo, other_labels = read_yolo_files(survey)
    every = {found.format: found for found in (*from_json, *read_xml_files(survey), yolo, read_csv_files(survey))}
    return [every[name] for name in FORMATS], [*unread, *other_labels]


def _choose(
    survey: Survey, candidates: Sequence[Candidate], unread: Sequence[str], wanted: str | None
) -> tuple[Candidate, list[str]]:
    """The candidate that annotates most images, or the one that is wanted. Raises UserError if there is none."""
    there = sorted((found for found in candidates if found.items), key=lambda found: -found.annotated())
    if wanted is not None:
        chosen = next((found for found in there if found.format == wanted), None)
        if chosen is None:
            listed = ", ".join(f"{FORMATS[found.format]} ({found.annotated()} images)" for found in there)
            hint = f"; found: {listed}" if listed else ""
            own = next(found for found in candidates if found.format == wanted)
            raise UserError(f"{survey.root} has no {FORMATS[wanted]} with images{_first(own.problems)}{hint}")
        return chosen, []
    if not there:
        raise not_recognised(survey, candidates, [*unread, *unknown_sentences(survey)], FORMATS.values())
    chosen, *others = there
    remarks = [
        f"also found: {FORMATS[other.format]} for {other.annotated()} images; {FORMATS[chosen.format]} is used"
        f" ({chosen.annotated()} images), --format {other.format} uses the other"
        for other in others
    ]
    return chosen, remarks


def _without_boxes(root: Path, problems: Sequence[Problem], crowds: int = 0) -> str:
    if crowds:
        return (
            f"{root} has no usable box in its train part: all {crowds} are crowd regions (COCO's iscrowd 1, VOC's"
            " difficult), which are ignored: set them to 0 where each is one object"
        )
    return f"{root} has no usable box in its train part{_first(problems)}: annotate objects, or correct the annotations"


def _first(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    return printable(f" ({len(problems)} problems, the first: {problems[0].where}: {problems[0].reason})")
