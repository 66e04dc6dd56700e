"""Means over the rare, the common and the frequent classes. Who belongs where is decided elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

GROUPS = ("rare", "common", "frequent")


@dataclass(frozen=True)
class Group:
    name: str
    ap: float | None
    """mean over the classes that have an object in the evaluated set; None: there is none"""
    classes: int
    measured: int
    """of them with an object in the evaluated set"""


Groups = tuple[Group, Group, Group]
"""rare, common, frequent"""


def group_means(aps: Sequence[float | None], members: Sequence[str]) -> Groups:
    """aps (C,) and the name of each class's group (C,)."""
    rare, common, frequent = (
        _group(name, [ap for ap, member in zip(aps, members, strict=True) if member == name]) for name in GROUPS
    )
    return rare, common, frequent


def group_figures(groups: Groups) -> dict[str, float | None]:
    """ap_rare, ap_common, ap_frequent: as a log and a table name them."""
    return {f"ap_{group.name}": group.ap for group in groups}


def group_lines(groups: Groups, notes: tuple[str, str, str] = ("", "", "")) -> list[str]:
    """A line for each group, with a note of one's own between its name and its counts."""
    lines = []
    for letter, group, note in zip("rcf", groups, notes, strict=True):
        ap = "n/a  " if group.ap is None else f"{group.ap:.3f}"
        without = group.classes - group.measured
        rest = f", {without} of them without objects here" if without else ""
        lines.append(f"AP{letter} {ap}  {group.name:<8}  {note}{group.classes} classes{rest}")
    return lines


def _group(name: str, aps: list[float | None]) -> Group:
    measured = [ap for ap in aps if ap is not None]
    return Group(name, sum(measured) / len(measured) if measured else None, len(aps), len(measured))
