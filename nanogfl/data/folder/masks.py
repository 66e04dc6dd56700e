"""Boxes of COCO's masks: polygons and run lengths, from untrusted files.

pycocotools decodes run lengths, too, but reads beyond the end of a damaged string.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from nanogfl.data.folder.xml_files import hull
from nanogfl.data.readers.values import is_number, to_hw

_MOST_RUNS = 10_000_000


def box_of_mask(mask: Any) -> list[float] | None:
    """x y width height of a `segmentation`: polygons, or run lengths, plain or compressed. None if it is neither."""
    if isinstance(mask, dict):
        size = mask.get("size")
        hw = to_hw(*size) if isinstance(size, list) and len(size) == 2 else None
        runs = _runs(mask.get("counts"))
        return _box_of_runs(runs, hw) if hw is not None and runs is not None else None
    if not isinstance(mask, list) or not mask:
        return None
    polygons = mask if all(isinstance(polygon, list) for polygon in mask) else [mask]
    numbers: list[float | None] = []
    for polygon in polygons:
        if len(polygon) % 2 or not all(is_number(value) and abs(value) < 1e9 for value in polygon):
            return None
        numbers += [float(value) for value in polygon]
    box = hull(numbers)
    return None if box is None else list(box)


def _runs(counts: Any) -> list[int] | None:
    """Lengths of runs, of 0 first."""
    if isinstance(counts, str):
        return _uncompressed(counts.encode("ascii", "replace"))
    if isinstance(counts, list) and all(type(run) is int and 0 <= run < 1 << 40 for run in counts):
        return counts
    return None


def _uncompressed(text: bytes) -> list[int] | None:
    """5 bits per character, lowest first, bit 5 for more; from the third on, the difference to the run before last."""
    runs: list[int] = []
    value = shift = 0
    for byte in text:
        code = byte - 48
        if not 0 <= code < 64 or shift > 40 or len(runs) > _MOST_RUNS:
            return None
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            if len(runs) > 2:
                value += runs[-2]
            if value < 0:
                return None
            runs.append(value)
            value = shift = 0
    return None if shift else runs


def _box_of_runs(runs: Sequence[int], hw: tuple[int, int]) -> list[float] | None:
    """Runs go down the columns, from left to right."""
    height, width = hw
    left, top, right, bottom = width, height, -1, -1
    for start, length in _set_runs(runs):
        first, last = start // height, (start + length - 1) // height
        left, right = min(left, first), max(right, last)
        if first == last:
            top, bottom = min(top, start % height), max(bottom, (start + length - 1) % height)
        else:
            top, bottom = 0, height - 1
    if right < 0 or right >= width:
        return None
    return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]


def _set_runs(runs: Sequence[int]) -> Iterable[tuple[int, int]]:
    at = 0
    for number, length in enumerate(runs):
        if number % 2 and length:
            yield at, length
        at += length
