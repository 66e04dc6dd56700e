"""Findings about classes: without boxes, misspelt, different in train and val, in a long tail."""

import re
from itertools import combinations

from nanogfl.config import Config
from nanogfl.data.advice.repeats import long_tail
from nanogfl.data.lint.finding import Example, Finding, Kind, Split
from nanogfl.data.lint.kinds import KINDS
from nanogfl.data.order import EpochOrder


def check_classes(train: Split, val: Split) -> list[Finding]:
    """Names, ids and boxes of the classes. Those of train and val are matched by name, as `choose_classes` does."""
    findings = []
    boxes_in_val = dict(val.class_boxes)
    ids_of = dict(zip(train.dataset.classes, train.dataset.category_ids, strict=True))
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


def check_tail(train: Split, config: Config) -> list[Finding]:
    """The rare classes of a long tail (`long_tail`)."""
    dataset, tail = train.dataset, long_tail(train.dataset)
    if tail is None:
        return []
    examples = [
        Example("train", f"'{dataset.classes[label]}' in {tail.images[label]} of {len(dataset.images)} images")
        for label in tail.rare
    ]
    what = f"rare classes in a long tail (1 : {tail.ratio:.0f})"
    if config.data.repeat_threshold > 0:
        advice = f"nothing to do: data.repeat_threshold {config.data.repeat_threshold:g} shows rare classes more often"
        return Kind("note", "long-tail", what, advice).found(examples)
    repeated = EpochOrder(dataset, seed=0, repeat_threshold=tail.threshold)
    advice = (
        f"hardly learned from so few: annotate more; data.repeat_threshold={tail.threshold:g} shows the rarest"
        f" {repeated.repeats.max():.1f} times per epoch ({repeated.length} instead of {len(dataset.images)} images)"
    )
    if not config.loss.equalized:
        advice += "; compare loss.classification=eqfl with model.head.prior=0.001"
    return Kind("warning", "long-tail", what, advice).found(examples)
