"""Average precision by pycocotools, for anything that turns frames into detections. Imports no torch."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detect, Detections
from nanogfl.data.cache.frames import read_checked
from nanogfl.data.class_counts import boxes_per_class
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.evaluation.groups import Groups, group_figures, group_lines, group_means
from nanogfl.evaluation.lvis_ap import MOST_DETECTIONS, federated_precision
from nanogfl.evaluation.precision import precision_table
from nanogfl.evaluation.voc_ap import VocReport, format_voc, voc_report
from nanogfl.io.printable import printable

NO_OBJECTS = "the validation set has no objects that count (crowd regions and difficult ones do not)"


@dataclass(frozen=True)
class ClassReport:
    name: str
    objects: int
    """number of objects in the data set; crowd regions do not count"""
    ap: float | None
    """None (shown as n/a): the data set has no object of the class"""
    ap50: float | None


@dataclass(frozen=True)
class Report:
    """AP over IoU .50 to .95; None: n/a.

    COCO's figures, with at most 100 detections per class and image. For a federated data set LVIS's, with at most 300
    per image.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    images: int
    seconds: float
    """time that the detector took for all images, reading included"""
    classes: tuple[ClassReport, ...]
    groups: Groups | None = None
    """of a federated data set alone: by the frequency that its file states"""
    voc: VocReport | None = None
    """Pascal VOC's figures, where they were asked for"""

    def to_dict(self) -> dict[str, Any]:
        """As JSON; for a federated data set with `ap_rare`, `ap_common`, `ap_frequent` under `federated`."""
        figures = asdict(self)
        del figures["groups"]
        if self.voc is None:
            del figures["voc"]
        if self.groups is not None:
            figures["federated"] = {
                **group_figures(self.groups),
                "classes": {group.name: group.classes for group in self.groups},
                "classes_measured": {group.name: group.measured for group in self.groups},
            }
        return figures


def evaluate(
    detect: Detect,
    dataset: DataSet,
    track: Callable[[Sequence[ImageRecord]], Iterable[ImageRecord]] = iter,
    *,
    voc: bool = False,
) -> Report:
    """Runs `detect` on every image and scores the result. `track` may wrap the images in a progress bar; `voc` adds
    Pascal VOC's figures.

    Raises UserError for an image that cannot be read or is not of the annotated size.
    """
    start = time.perf_counter()
    detections = [detect(read_checked(image)) for image in track(dataset.images)]
    report = score(dataset, detections, time.perf_counter() - start)
    return replace(report, voc=voc_report(dataset, detections)) if voc else report


def score(dataset: DataSet, detections: Sequence[Detections], seconds: float = 0.0) -> Report:
    """The AP of detections in source pixels, one entry per image of the data set, in its order."""
    federated = dataset.federated
    if federated is None:
        precision = precision_table(dataset, detections, most=100)
    else:
        precision = federated_precision(dataset, federated, detections)
    counts = boxes_per_class(dataset)
    classes = tuple(
        ClassReport(name, int(counts[label]), _mean(precision[:, :, label, 0]), _mean(precision[0, :, label, 0]))
        for label, name in enumerate(dataset.classes)
    )
    ap, ap_small, ap_medium, ap_large = (_mean(precision[..., area]) for area in range(4))
    return Report(
        ap=ap,
        ap_small=ap_small,
        ap_medium=ap_medium,
        ap_large=ap_large,
        ap50=_mean(precision[0, ..., 0]),
        ap75=_mean(precision[5, ..., 0]),
        images=len(dataset.images),
        seconds=seconds,
        classes=classes,
        groups=None if federated is None else group_means([entry.ap for entry in classes], federated.frequency),
    )


def format_report(report: Report) -> str:
    """A table for people."""
    names = [printable(entry.name) for entry in report.classes]
    width = max(map(len, ["class", *names]))
    lines = [f"{'class':{width}}  objects     AP   AP50"]
    for entry, name in zip(report.classes, names, strict=True):
        lines.append(f"{name:{width}}  {entry.objects:7d}  {_show(entry.ap)}  {_show(entry.ap50)}")
    objects = sum(entry.objects for entry in report.classes)
    lines.append(
        f"{'all':{width}}  {objects:7d}  {_show(report.ap)}  {_show(report.ap50)}"
        f"   AP75 {_show(report.ap75).strip()}, small {_show(report.ap_small).strip()},"
        f" medium {_show(report.ap_medium).strip()}, large {_show(report.ap_large).strip()}"
    )
    if report.groups is not None:
        lines += group_lines(report.groups)
        lines.append(
            f"LVIS: a class is measured in the images that verify it, by at most {MOST_DETECTIONS} detections an image"
        )
    if report.voc is not None:
        lines.append(format_voc(report.voc))
    return "\n".join(lines)


def _show(value: float | None) -> str:
    return "  n/a" if value is None else f"{value:.3f}"


def _mean(precision: NDArray[np.float64]) -> float | None:
    valid = precision[precision > -1]
    return float(valid.mean()) if valid.size else None
