"""What an evaluation costs: CPU seconds and peak memory of `score` on random detections, a data set's size at a time.

python benchmarks/evaluate_memory.py --images 5000 --detections 100 --classes 80

Nothing is decoded or detected. Objects lie near some of the detections, so that all figures are between 0 and 1. The
last line is JSON.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from nanogfl.contract.detections import Detections
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.evaluation.coco_ap import score


def draw(images: int, detections: int, classes: int, objects: int) -> tuple[DataSet, list[Detections]]:
    numbers = np.random.default_rng(0)
    records, found = [], []
    for number in range(images):
        corner = numbers.uniform(0, 500, (detections, 2))
        boxes = np.concatenate([corner, corner + np.exp(numbers.uniform(1.5, 5, (detections, 2)))], axis=1)
        labels = numbers.integers(0, classes, detections)
        true = boxes[:objects] + numbers.normal(0, 2, (objects, 4))
        true = np.maximum(true, np.concatenate([true[:, :2] * 0, true[:, :2] + 1], axis=1)).astype(np.float32)
        areas = (true[:, 2] - true[:, 0]) * (true[:, 3] - true[:, 1])
        crowd = numbers.random(objects) < 0.02
        records.append(ImageRecord(number, Path("none"), (640, 640), true, labels[:objects], areas, crowd))
        scores = numbers.random(detections).astype(np.float32)
        found.append(Detections(boxes.astype(np.float32), scores, labels))
    names = tuple(f"class {number}" for number in range(classes))
    return DataSet("drawn", names, tuple(range(1, classes + 1)), tuple(records), ()), found


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="in each image")
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--objects", type=int, default=7, help="in each image")
    arguments = parser.parse_args()
    dataset, found = draw(**vars(arguments))
    before = peak_mb()
    start = time.process_time()
    report = score(dataset, found)
    seconds = time.process_time() - start
    result = {**vars(arguments), "ap": report.ap, "ap_small": report.ap_small, "cpu_seconds": round(seconds, 1)}
    result |= {"peak_mb": round(peak_mb()), "peak_mb_before": round(before)}
    print(f"{seconds:.1f} CPU s, peak {peak_mb():.0f} MB ({before:.0f} MB before it)")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
