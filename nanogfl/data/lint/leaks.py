"""Findings about what the training and the validation part share: photographs, their copies, scenes."""

from collections import defaultdict

from nanogfl.data.lint.finding import Example, Finding, Split
from nanogfl.data.lint.images import Looks
from nanogfl.data.lint.kinds import KINDS
from nanogfl.data.split.leaks import WHY, leaks
from nanogfl.data.split.links import Why

_KEYS = {
    Why.COPY: "val-in-train",
    Why.NAME: "split-versions",
    Why.NEAR: "near-duplicates",
    Why.SERIES: "split-scenes",
    Why.VIDEO: "split-scenes",
}


def check_leaks(train: Split, val: Split, looks: tuple[Looks, Looks] | None = None) -> list[Finding]:
    """Images of val whose photograph or scene is in train, too. Without `looks`, from the names alone."""
    prints = looks and (looks[0].prints, looks[1].prints)
    examples: dict[str, list[Example]] = defaultdict(list)
    for leak in leaks(train.dataset, val.dataset, prints, names_only=looks is None):
        note = f" ({leak.bits} of 64 bits differ)" if leak.why is Why.NEAR else ""
        text = f"{leak.val.path.name} {WHY[leak.why]} train {leak.train.path.name}{note}"
        examples[_KEYS[leak.why]].append(Example(val.name, text, leak.val, (), leak.train))
    return [finding for key, found in examples.items() for finding in KINDS[key].found(found)]
