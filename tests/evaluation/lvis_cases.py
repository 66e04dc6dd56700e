"""Random federated ground truths with detections, as plain LVIS json. Needs numpy alone: the golden file is made where
this project is not installed."""

from typing import Any

import numpy as np

Case = dict[str, Any]
"""`truth`: an LVIS v1 json; `results`: what the LVIS API reads as detections"""

AREA_LIMITS = (1024.0, 9216.0)


def draw_case(seed: int) -> Case:
    """Whole-numbered boxes and scores that float32 holds exactly. Every third case has many equal scores, every
    seventh an image with more than 300 detections."""
    numbers = np.random.default_rng(seed)
    ids = sorted(int(i) for i in numbers.choice(40, numbers.integers(1, 7), replace=False) + 1)
    categories = [{"id": i, "name": f"c{i}", "frequency": str(numbers.choice(list("rcf")))} for i in ids]
    numbers.shuffle(categories)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number in numbers.choice(900, numbers.integers(1, 6), replace=False).tolist():
        width, height = (int(side) for side in numbers.integers((180, 130), (400, 300)))
        crowded = seed % 7 == 0 and not images
        held = [i for i in ids if numbers.random() < 0.45]
        others = [i for i in ids if i not in held]
        for category in held:
            for _ in range(numbers.integers(1, 5)):
                box = _box(numbers, width, height)
                annotations.append(
                    {"image_id": number, "category_id": category, "bbox": box, "area": _area(numbers, box)}
                )
                for _ in range(numbers.integers(0, 3)):
                    results.append({"image_id": number, "category_id": category, "bbox": _near(numbers, box)})
        for _ in range(numbers.integers(310, 340) if crowded else numbers.integers(0, 9)):
            box = _box(numbers, width, height)
            results.append({"image_id": number, "category_id": int(numbers.choice(ids)), "bbox": box})
        if results and numbers.random() < 0.2:  # nothing wide
            results.append({"image_id": number, "category_id": int(numbers.choice(ids)), "bbox": [9, 9, 0, 30]})
        images.append(
            {
                "id": number,
                "coco_url": f"http://example.org/val2017/{number:012d}.jpg",
                "width": width,
                "height": height,
                "neg_category_ids": [i for i in others if numbers.random() < 0.5],
                "not_exhaustive_category_ids": [i for i in ids if numbers.random() < 0.25],
            }
        )
    few = seed % 3 == 0
    numbers.shuffle(results)
    for entry in results:
        entry["score"] = float(numbers.integers(1, 9)) / 8 if few else float(np.float32(numbers.random()))
    annotations = [{"id": number, **entry} for number, entry in enumerate(annotations, 1)]
    return {"truth": {"images": images, "annotations": annotations, "categories": categories}, "results": results}


def _box(numbers: np.random.Generator, width: int, height: int) -> list[int]:
    """x y width height within the picture; of any size class."""
    w, h = (
        int(min(side, numbers.choice([6, 20, 32, 60, 96, 128]) + numbers.integers(0, 5))) for side in (width, height)
    )
    return [int(numbers.integers(0, width - w + 1)), int(numbers.integers(0, height - h + 1)), w, h]


def _area(numbers: np.random.Generator, box: list[int]) -> float:
    """Of a mask within the box, in quarters; at times exactly on the border of two size classes."""
    limits = [limit for limit in AREA_LIMITS if limit <= box[2] * box[3]]
    if limits and numbers.random() < 0.2:
        return float(numbers.choice(limits))
    return max(1.0, round(4 * box[2] * box[3] * numbers.uniform(0.5, 1)) / 4)


def _near(numbers: np.random.Generator, box: list[int]) -> list[int]:
    """The same box, or one moved by up to a quarter of its sides."""
    moved = numbers.integers(0, 2) * numbers.uniform(-0.25, 0.25, 4) * np.array(box[2:] * 2)
    x, y, w, h = (int(value) for value in np.rint(box + moved))
    return [max(0, x), max(0, y), max(1, w), max(1, h)]
