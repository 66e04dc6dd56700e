"""Average precision, computed by pycocotools, for anything that turns frames into detections. No torch."""

import contextlib
import io
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nanogfl.contract.detections import Detect, Detections
from nanogfl.data.cache import read_checked
from nanogfl.data.coco import DataSet, ImageRecord


@dataclass(frozen=True)
class ClassReport:
    name: str
    objects: int
    """in the data set, crowd regions not counted"""
    ap: float | None
    """None where the data set has no object of the class: n/a, neither 0 nor NaN"""
    ap50: float | None


@dataclass(frozen=True)
class Report:
    """COCO's figures: AP over IoU .50 to .95, at most 100 detections an image. None: n/a."""

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    images: int
    seconds: float
    """that the detector took for all images, reading them included"""
    classes: tuple[ClassReport, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    detect: Detect, dataset: DataSet, track: Callable[[Sequence[ImageRecord]], Iterable[ImageRecord]] = iter
) -> Report:
    """Runs `detect` on every image. `track` may wrap the images in a progress bar."""
    start = time.perf_counter()
    detections = [detect(read_checked(image)) for image in track(dataset.images)]
    return score(dataset, detections, time.perf_counter() - start)


def score(dataset: DataSet, detections: Sequence[Detections], seconds: float = 0.0) -> Report:
    """`detections` in source pixels, one entry for each image of the data set, in its order."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        evaluation = COCOeval(_coco(dataset, _truth(dataset)), _coco(dataset, _found(dataset, detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"]  # (IoU, recall, class, area, limit)
    column = {category: k for k, category in enumerate(sorted(dataset.category_ids))}  # pycocotools' order of classes
    counts = np.zeros(len(dataset.classes), dtype=np.int64)
    for image in dataset.images:
        np.add.at(counts, image.labels[~image.crowd], 1)
    classes = tuple(
        ClassReport(
            name, int(counts[label]), _mean(precision[:, :, column[i], 0, -1]), _mean(precision[0, :, column[i], 0, -1])
        )
        for label, (name, i) in enumerate(zip(dataset.classes, dataset.category_ids, strict=True))
    )
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    figures = {n: None if v < 0 else float(v) for n, v in zip(names, evaluation.stats[:6], strict=True)}
    return Report(**figures, images=len(dataset.images), seconds=seconds, classes=classes)


def format_report(report: Report) -> str:
    """A table for people."""
    width = max([len("class"), *(len(entry.name) for entry in report.classes)])
    lines = [f"{'class':{width}}  objects     AP   AP50"]
    for entry in report.classes:
        lines.append(f"{entry.name:{width}}  {entry.objects:7d}  {_show(entry.ap)}  {_show(entry.ap50)}")
    objects = sum(entry.objects for entry in report.classes)
    lines.append(
        f"{'all':{width}}  {objects:7d}  {_show(report.ap)}  {_show(report.ap50)}"
        f"   AP75 {_show(report.ap75).strip()}, small {_show(report.ap_small).strip()},"
        f" medium {_show(report.ap_medium).strip()}, large {_show(report.ap_large).strip()}"
    )
    return "\n".join(lines)


def _show(value: float | None) -> str:
    return "  n/a" if value is None else f"{value:.3f}"


def _mean(precision: NDArray[np.float64]) -> float | None:
    valid = precision[precision > -1]
    return float(valid.mean()) if valid.size else None


def _truth(dataset: DataSet) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image.id,
            "category_id": dataset.category_ids[label],
            "bbox": _corner_size(box),
            "area": float(area),
            "iscrowd": int(crowd),
        }
        for image in dataset.images
        for box, label, area, crowd in zip(image.boxes, image.labels, image.areas, image.crowd, strict=True)
    ]


def _found(dataset: DataSet, detections: Sequence[Detections]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image.id,
            "category_id": dataset.category_ids[label],
            "bbox": (corner_size := _corner_size(box)),
            "area": corner_size[2] * corner_size[3],
            "iscrowd": 0,
            "score": float(value),
        }
        for image, found in zip(dataset.images, detections, strict=True)
        for box, label, value in zip(found.boxes, found.labels, found.scores, strict=True)
    ]


def _corner_size(box: NDArray[np.float32]) -> list[float]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return [x1, y1, x2 - x1, y2 - y1]


def _coco(dataset: DataSet, annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image.id, "height": image.hw[0], "width": image.hw[1]} for image in dataset.images],
        "categories": [{"id": i, "name": n} for i, n in zip(dataset.category_ids, dataset.classes, strict=True)],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco
