"""Classes: gaps in their ids, without boxes, misspelt, and different in training and validation."""

import re
from collections import defaultdict
from itertools import combinations
from typing import NamedTuple

from nanogfl.data.lint.finding import Example, Finding, Severity, Split

LEAST_LETTERS = 6
"""of names whose single letters may be typing errors: boat and goat are not"""
RARE_SHARE = 0.1
"""a misspelt class has at most this share of the boxes of the one that is meant"""


class _Name(NamedTuple):
    split: str
    name: str
    boxes: int


def check_categories(train: Split, val: Split) -> list[Finding]:
    return [*_gaps(train), *_differences(train, val), *_without_boxes(train, val), *_misspelt(train, val)]


def _gaps(train: Split) -> list[Finding]:
    ids = train.dataset.category_ids
    if ids == tuple(range(1, len(ids) + 1)):
        return []
    text = f"{len(ids)} classes with the ids {ids[0]} to {ids[-1]}"
    advice = "nothing to do: numbered from 0 inside, and the file's own ids come back in the evaluation"
    return [Finding("note", "category-gaps", "category ids are not 1, 2, 3 ...", advice, (Example("train", text),), 1)]


def _differences(train: Split, val: Split) -> list[Finding]:
    """As `choose_classes` matches them: by their names."""
    ids = dict(zip(train.dataset.classes, train.dataset.category_ids, strict=True))
    others = dict(zip(val.dataset.classes, val.dataset.category_ids, strict=True))
    missing = [
        Example("val", f"category {number}, '{name}' in train, is not there")
        for name, number in ids.items()
        if name not in others
    ]
    moved = [
        Example("val", f"'{name}' is category {others[name]}, in train it is {number}")
        for name, number in ids.items()
        if others.get(name, number) != number
    ]
    boxes = dict(zip(val.dataset.classes, val.boxes_per_class().tolist(), strict=True))
    more = [
        Example("val", f"category {number}, '{name}', has {boxes[name]} boxes")
        for name, number in others.items()
        if name not in ids
    ]
    findings = []
    if missing:
        advice = "give both files the same classes, letter by letter: training refuses these"
        findings.append(
            Finding("error", "classes-differ", "classes differ between train and val", advice, tuple(missing))
        )
    if moved:
        advice = "classes are matched by name: give both files equal ids if other tools read them by id"
        findings.append(
            Finding("warning", "class-ids-differ", "class ids differ between train and val", advice, tuple(moved))
        )
    if more:
        advice = "their boxes are left out of the evaluation: add the classes to train's categories, or remove them"
        severity: Severity = "warning" if any(boxes[name] for name in others if name not in ids) else "note"
        findings.append(Finding(severity, "classes-only-in-val", "classes only in val", advice, tuple(more)))
    return findings


def _without_boxes(train: Split, val: Split) -> list[Finding]:
    names, counts = train.dataset.classes, train.boxes_per_class().tolist()
    unused = tuple(Example("train", f"'{name}'") for name, count in zip(names, counts, strict=True) if not count)
    known = dict(zip(val.dataset.classes, val.boxes_per_class().tolist(), strict=True))
    absent = tuple(
        Example("val", f"'{name}' ({count} boxes in train)")
        for name, count in zip(names, counts, strict=True)
        if count and known.get(name) == 0
    )
    findings = []
    if unused:
        advice = "nothing can be learned for them: annotate some, or remove them from the categories"
        findings.append(Finding("warning", "unused-classes", "classes without a box in train", advice, unused))
    if absent:
        advice = "their AP is n/a and the mean leaves them out: move images with them to val if they matter"
        findings.append(Finding("note", "classes-not-in-val", "classes without a box in val", advice, absent))
    return findings


def _misspelt(train: Split, val: Split) -> list[Finding]:
    names = [
        _Name("train", *pair) for pair in zip(train.dataset.classes, train.boxes_per_class().tolist(), strict=True)
    ]
    known = set(train.dataset.classes)
    for name, boxes in zip(val.dataset.classes, val.boxes_per_class().tolist(), strict=True):
        if name not in known:
            names.append(_Name("val", name, boxes))
    pairs = {*_same_words(names), *_one_letter_apart(names)}
    found = []
    for i, j in sorted(pairs):
        a, b = sorted((names[i], names[j]), key=lambda entry: -entry.boxes)
        text = f"'{b.name}' ({b.boxes} boxes) is nearly '{a.name}' ({a.boxes} boxes{_where(a, b)})"
        found.append(Example(b.split, text))
    if not found:
        return []
    advice = "if they mean the same, give one name and one id to both: as two classes they compete"
    return [Finding("warning", "misspelt-classes", "classes with nearly the same name", advice, tuple(found))]


def _where(a: _Name, b: _Name) -> str:
    return "" if a.split == b.split else f" in {a.split}"


def _same_words(names: list[_Name]) -> set[tuple[int, int]]:
    """Equal but for case, spaces, hyphens and a plural's ending."""
    plain = defaultdict(list)
    for number, entry in enumerate(names):
        plain[re.sub(r"[\s_\-]+", "", entry.name.casefold())].append(number)
    pairs = {pair for group in plain.values() for pair in combinations(group, 2)}
    for word, group in plain.items():
        plurals = (word + "s", word + "es", word[:-1] + "ies" if word.endswith("y") else "")
        many = [number for plural in plurals if plural and word for number in plain.get(plural, [])]
        pairs |= {(min(i, j), max(i, j)) for i in group for j in many}
    return pairs


def _one_letter_apart(names: list[_Name]) -> set[tuple[int, int]]:
    """A letter but the first changed, missing, too many or moved, in a class that is rare beside the other. (Of LVIS's
    1,230 names those that differ in the first letter are real pairs: parrot and carrot, candle and handle.)

    Two such names become equal when each loses at most one letter, so that no pair is compared that is not alike."""
    shortened = defaultdict(set)
    for number, entry in enumerate(names):
        word = entry.name.casefold()
        if len(word) >= LEAST_LETTERS:
            for variant in {word, *(word[:cut] + word[cut + 1 :] for cut in range(len(word)))}:
                shortened[variant].add(number)
    pairs = set()
    for group in shortened.values():
        for i, j in combinations(sorted(group), 2):
            few, many = sorted((names[i].boxes, names[j].boxes))
            one, other = (names[number].name.casefold() for number in (i, j))
            if 0 < few <= RARE_SHARE * many and one[0] == other[0] and _digits(one) == _digits(other):
                pairs.add((i, j))
    return pairs


def _digits(name: str) -> list[str]:
    """'type 1' and 'type 2' are not misspelt."""
    return re.findall(r"\d+", name)
