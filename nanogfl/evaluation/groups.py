"""Mean APs of the rare, common and frequent classes, given each class's group."""

from collections.abc import Sequence
from dataclasses import dataclass

GROUPS = ("rare", "common", "frequent")


@dataclass(frozen=True)
class Group:
    name: str
    ap: float | None
    """mean over the measured classes; None: there are none"""
    classes: int
    measured: int
    """how many of the classes have an object in the evaluated set"""


Groups = tuple[Group, Group, Group]
"""rare, common, frequent"""


def group_means(aps: Sequence[float | None], members: Sequence[str]) -> Groups:
    """The groups of classes with these APs (C,) and group names (C,)."""
    rare, common, frequent = (
        _group(name, [ap for ap, member in zip(aps, members, strict=True) if member == name]) for name in GROUPS
    )
    return rare, common, frequent


def group_figures(groups: Groups) -> dict[str, float | None]:
    """ap_rare, ap_common, ap_frequent; None: n/a."""
    return {f"ap_{group.name}": group.ap for group in groups}


def group_lines(groups: Groups, notes: tuple[str, str, str] = ("", "", "")) -> list[str]:
    """One line per group, with its note between its name and its counts."""
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
