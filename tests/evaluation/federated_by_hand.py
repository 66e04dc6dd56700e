"""Federated AP written down a second time: plain loops from the paper (arXiv:1908.03195) and from how the LVIS API
(0.5.3) breaks its ties. Slow; shares nothing with the project."""

import numpy as np

from tests.evaluation.lvis_cases import Case

IOUS = np.linspace(0.5, 0.95, 10).tolist()
RECALLS = np.linspace(0, 1, 101).tolist()
SIZES = {"all": (0, 1e10), "s": (0, 1024), "m": (1024, 9216), "l": (9216, 1e10)}


def federated_by_hand(case: Case) -> dict[str, float | None]:
    """The reference's nine names -> figures; None where there is nothing to measure."""
    truth = case["truth"]
    best = []  # of each image its 300, so that ties stay in the order in which they came
    for image in truth["images"]:
        found = [d for d in case["results"] if d["image_id"] == image["id"]]
        best += sorted(found, key=lambda d: -d["score"])[:300]
    curves: dict[tuple[int, str], list[float] | None] = {}
    for category in truth["categories"]:
        for size in SIZES:
            curves[category["id"], size] = _of_class(truth, best, category["id"], SIZES[size])

    def mean(size: str = "all", ious: slice = slice(None), group: str = "rcf") -> float | None:
        members = [c["id"] for c in truth["categories"] if c["frequency"] in group]
        aps = [sum(aps[ious]) / len(aps[ious]) for i in members if (aps := curves[i, size]) is not None]
        return sum(aps) / len(aps) if aps else None

    return {
        "AP": mean(),
        "AP50": mean(ious=slice(0, 1)),
        "AP75": mean(ious=slice(5, 6)),
        **{f"AP{size}": mean(size) for size in "sml"},
        **{f"AP{group}": mean(group=group) for group in "rcf"},
    }


def _of_class(truth: dict, found: list[dict], category: int, size: tuple[float, float]) -> list[float] | None:
    """AP at each of the ten IoUs, or None without an object of this size."""
    per_iou = []
    for iou in IOUS:
        objects = 0
        verdicts = []  # (score, right) of every detection that counts, image by image
        for image in sorted(truth["images"], key=lambda image: image["id"]):
            here = [a for a in truth["annotations"] if (a["image_id"], a["category_id"]) == (image["id"], category)]
            if not here and category not in image["neg_category_ids"]:
                continue  # not verified
            there = [d for d in found if (d["image_id"], d["category_id"]) == (image["id"], category)]
            there = [d for d in there if d["bbox"][2] * d["bbox"][3] > 0]
            objects += sum(size[0] <= a["area"] <= size[1] for a in here)
            open_ended = category in image["not_exhaustive_category_ids"]
            verdicts += _verdicts(here, there, iou, size, open_ended)
        if not objects:
            return None
        per_iou.append(_average_precision(sorted(verdicts, key=lambda verdict: -verdict[0]), objects))
    return per_iou


def _verdicts(
    here: list[dict], there: list[dict], iou: float, size: tuple[float, float], open_ended: bool
) -> list[tuple[float, bool]]:
    taken: set[int] = set()
    verdicts = []
    for detection in sorted(there, key=lambda d: -d["score"]):
        *_, w, h = detection["bbox"]
        match = None
        for wanted in (True, False):  # an object of another size only where none of this size will do
            overlap = iou
            for number, thing in enumerate(here):
                if number in taken or (size[0] <= thing["area"] <= size[1]) != wanted:
                    continue
                if _iou(detection["bbox"], thing["bbox"]) >= overlap:  # of equal ones the last
                    match, overlap = number, _iou(detection["bbox"], thing["bbox"])
            if match is not None:
                taken.add(match)
                if wanted:
                    verdicts.append((detection["score"], True))
                break
        if match is None and size[0] <= w * h <= size[1] and not open_ended:
            verdicts.append((detection["score"], False))
    return verdicts


def _iou(one: list[float], other: list[float]) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = one, other
    width, height = min(ax + aw, bx + bw) - max(ax, bx), min(ay + ah, by + bh) - max(ay, by)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (aw * ah + bw * bh - width * height)


def _average_precision(verdicts: list[tuple[float, bool]], objects: int) -> float:
    """Mean over the recalls of the best precision at that recall or beyond it."""
    points = []
    right = 0
    for seen, (_, hit) in enumerate(verdicts, 1):
        right += hit
        points.append((right / objects, right / seen))
    total = 0.0
    for recall in RECALLS:
        total += max((precision for reached, precision in points if reached >= recall), default=0.0)
    return total / len(RECALLS)
