"""Which class of one data set is which of another."""

import re
from collections.abc import Sequence

_SAME = {"aeroplane": "airplane", "motorbike": "motorcycle", "sofa": "couch", "tvmonitor": "tv"}
"""names of Pascal VOC and those of COCO"""


def plain_name(name: str) -> str:
    """Lower case without blanks and punctuation, and COCO's name for a class of Pascal VOC: Dining-Table ->
    diningtable, tvmonitor -> tv."""
    plain = re.sub(r"[\W_]+", "", name.casefold())
    return _SAME.get(plain, plain)


def matching_classes(ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of labels, ours rising: the same name, else the same `plain_name`."""
    exact = {name: label for label, name in reversed(list(enumerate(theirs)))}
    plain = {plain_name(name): label for label, name in reversed(list(enumerate(theirs))) if plain_name(name)}
    found = ((label, exact.get(name, plain.get(plain_name(name)))) for label, name in enumerate(ours))
    return [(own, their) for own, their in found if their is not None]
