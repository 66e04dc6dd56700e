"""Images that belong on one side of a split, as groups; and what a group is cut into where no split keeps it whole."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from nanogfl.data.split.links import Link, Why

PIECES = 10
"""into which a group is cut: one or two of them are a usual validation part"""


class Group(NamedTuple):
    rows: tuple[int, ...]
    """in the order of their names"""
    surest: Why
    """links up to this one hold it together"""


_CUTS = (Why.SERIES, Why.NAME, Why.COPY)
"""which links a group falls back on when it is cut: what the names say of videos goes first"""


def group_rows(count: int, links: Sequence[Link]) -> list[Group]:
    """Groups of rows 0 .. count - 1, which are in the order of their names."""
    return [Group(rows, Why.VIDEO) for rows in components(range(count), links)]


def cut(group: Group, links: Sequence[Link]) -> list[Group]:
    """Up to ten parts of a group, in the order of the names: the scenes of a video where it has several, or else pieces
    that keep copies together where that is possible."""
    inside = set(group.rows)
    mine = [link for link in links if link.first in inside]
    for surest in _CUTS:
        if surest >= group.surest:
            continue
        parts = components(group.rows, [link for link in mine if link.why <= surest])
        if len(parts) > 1:
            return [Group(part, surest) for part in _pieces(parts)]
    return [Group(part, Why.COPY) for part in _pieces([(row,) for row in group.rows])]


def _pieces(parts: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The parts, or ten runs of them with about equally many rows where there are more than ten."""
    if len(parts) <= PIECES:
        return list(parts)
    count = sum(map(len, parts))
    ends, seen = [], 0
    for part in parts:
        ends.append(seen * PIECES // count)  # the piece in which the part begins
        seen += len(part)
    runs = groupby(zip(ends, parts, strict=True), key=lambda pair: pair[0])
    return [tuple(sorted(row for _, part in run for row in part)) for _, run in runs]


def components(rows: Iterable[int], links: Iterable[Link]) -> list[tuple[int, ...]]:
    """Connected rows, each component rising, by their first rows."""
    root = {row: row for row in rows}

    def find(row: int) -> int:
        while root[row] != row:
            root[row] = row = root[root[row]]
        return row

    for link in links:
        first, second = sorted((find(link.first), find(link.second)))
        root[second] = first
    parts: dict[int, list[int]] = {}
    for row in root:
        parts.setdefault(find(row), []).append(row)
    return [tuple(part) for part in parts.values()]
