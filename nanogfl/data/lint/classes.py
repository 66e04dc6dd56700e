"""Findings about classes: gaps in their ids, without boxes, misspelt, different in train and val, in a long tail."""

import re
from itertools import combinations

import numpy as np

from nanogfl.config import Config
from nanogfl.data.class_counts import images_per_class
from nanogfl.data.lint.finding import Example, Finding, Kind, Split
from nanogfl.data.lint.kinds import KINDS
from nanogfl.data.order import EpochOrder

LONG_TAIL = 20.0
"""a tail is long from this ratio of the commonest to the rarest class, in images"""
THRESHOLDS = (0.001, 0.05)
"""limits of the suggested repeat_threshold: LVIS's (arXiv:1908.03195), and that of configs/ablations/efl.yaml"""


def check_classes(train: Split, val: Split) -> list[Finding]:
    """Ids, names and boxes of the classes. Those of train and val are matched by name, as `choose_classes` does."""
    findings = []
    boxes_in_val = dict(val.class_boxes)
    ids = train.dataset.category_ids
    if ids != tuple(range(1, len(ids) + 1)):
        text = f"{len(ids)} classes with the ids {ids[0]} to {ids[-1]}"
        findings += KINDS["category-gaps"].found([Example("train", text)])
    ids_of = dict(zip(train.dataset.classes, ids, strict=True))
    others = dict(zip(val.dataset.classes, val.dataset.category_ids, strict=True))
    findings += KINDS["classes-differ"].found(
        [
            Example("val", f"category {number}, '{name}' in train, is not there")
            for name, number in ids_of.items()
            if name not in others
        ]
    )
    findings += KINDS["class-ids-differ"].found(
        [
            Example("val", f"'{name}' is category {others[name]}, in train it is {number}")
            for name, number in ids_of.items()
            if others.get(name, number) != number
        ]
    )
    more = {name: number for name, number in others.items() if name not in ids_of}
    only = KINDS["classes-only-in-val"]
    if not any(boxes_in_val[name] for name in more):
        only = only._replace(severity="note")
    findings += only.found(
        [
            Example("val", f"category {number}, '{name}', has {boxes_in_val[name]} boxes")
            for name, number in more.items()
        ]
    )
    findings += KINDS["unused-classes"].found(
        [Example("train", f"'{name}'") for name, count in train.class_boxes if not count]
    )
    findings += KINDS["classes-not-in-val"].found(
        [
            Example("val", f"'{name}' ({count} boxes in train)")
            for name, count in train.class_boxes
            if count and boxes_in_val.get(name) == 0
        ]
    )
    return [*findings, *KINDS["misspelt-classes"].found(_misspelt(train, val))]


def _misspelt(train: Split, val: Split) -> list[Example]:
    """Pairs of names that are equal but for case, spaces and hyphens; val's only where train has no such class."""
    named = [("train", name, count) for name, count in train.class_boxes]
    named += [("val", name, count) for name, count in val.class_boxes if name not in train.dataset.classes]
    same: dict[str, list[tuple[str, str, int]]] = {}
    for entry in named:
        same.setdefault(re.sub(r"[\s_\-]+", "", entry[1].casefold()), []).append(entry)
    examples = []
    for group in same.values():
        for pair in combinations(group, 2):
            (_, name, boxes), (split, other, fewer) = sorted(pair, key=lambda entry: -entry[2])
            examples.append(Example(split, f"'{other}' ({fewer} boxes) and '{name}' ({boxes} boxes)"))
    return examples


def check_tail(train: Split, config: Config, rare: int) -> list[Finding]:
    """Classes in at most `rare` training images (LVIS: 10), where the tail is long.

    It is long where the commonest class lies in LONG_TAIL times as many images as the rarest that is used. COCO, whose
    rarest class lies in hundreds, has none.
    """
    dataset = train.dataset
    counts = images_per_class(dataset)
    used = counts > 0
    few = np.flatnonzero(used & (counts <= rare))
    if not len(few) or counts.max() < LONG_TAIL * counts[used].min():
        return []
    examples = [
        Example("train", f"'{dataset.classes[label]}' in {counts[label]} of {len(dataset.images)} images")
        for label in few[np.argsort(counts[few], kind="stable")]
    ]
    what = f"rare classes in a long tail (1 : {counts.max() / counts[used].min():.0f})"
    if config.data.repeat_threshold > 0:
        advice = f"nothing to do: data.repeat_threshold {config.data.repeat_threshold:g} shows rare classes more often"
        return Kind("note", "long-tail", what, advice).found(examples)
    threshold = suggest_threshold(float(np.median(counts[used])) / len(dataset.images))
    repeated = EpochOrder(dataset, seed=0, repeat_threshold=threshold)
    advice = (
        f"data.repeat_threshold={threshold:g} shows the rarest {repeated.repeats.max():.1f} times per epoch"
        f" ({repeated.length} instead of {len(dataset.images)} images)"
    )
    if not config.loss.equalized:
        advice += "; compare loss.classification=eqfl with model.head.prior=0.001"
    return Kind("warning", "long-tail", what, advice).found(examples)


def suggest_threshold(median_share: float) -> float:
    """The median class's share of the images, rounded: the rarer half of the classes is shown more often."""
    return float(f"{min(max(median_share, THRESHOLDS[0]), THRESHOLDS[1]):.0e}")
