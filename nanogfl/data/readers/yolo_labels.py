"""The lines of YOLO's label files: boxes, polygons, and boxes with keypoints."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nanogfl.data.readers.values import to_number
from nanogfl.io.read_file import read_lines

_MOST_BYTES = 16_000_000
"""of one image's labels: polygons of a thousand objects take some 5 MB"""
_SLACK = 0.01
"""by which a normalised number may miss 0 .. 1 through rounding; beyond, it is no normalised number"""
_CORNERS = 9
"""numbers of a line with four corner points, as rotated boxes are written"""
_REACH = 0.6
"""of the box's width and height, from its centre: keypoints are drawn by hand, too"""
_LEAST_SPREAD = 0.25
"""of the box's width or height: the keypoints of an object are spread over it"""


class Line(NamedTuple):
    where: str
    text: str
    numbers: tuple[float, ...] | None
    """None: not all of it is numbers"""


class Layout(NamedTuple):
    """What a line of more than five numbers is."""

    keypoints: int
    """numbers behind class and box; 0: such lines are polygons"""
    said: str = ""
    """what was guessed, and from what"""

    def shape(self, line: Line) -> tuple[float, ...] | None:
        """The numbers of the box or polygon behind the class; None for a line that is neither."""
        count = len(line.numbers or ())
        if line.numbers is None or count < 5:
            return None
        if count == 5 or count == 5 + self.keypoints:
            return line.numbers[1:5]
        return line.numbers[1:] if not self.keypoints and count >= 7 and count % 2 else None

    def expected(self) -> str:
        if self.keypoints:
            return f"'class cx cy w h' with {self.keypoints} numbers of keypoints, or none,"
        return "'class cx cy w h' or a class and a polygon"


def read_label_lines(file: Path) -> list[Line]:
    """Without empty ones. Raises UserError for what is no text."""
    lines = []
    for position, line in enumerate(read_lines(file, "label file", _MOST_BYTES), start=1):
        if text := line.strip():
            numbers = tuple(number for part in text.split() if (number := to_number(part)) is not None)
            whole = numbers if len(numbers) == len(text.split()) else None
            lines.append(Line(f"{file.name}, line {position}", text, whole))
    return lines


def find_layout(files: Iterable[Path], declared: int | None) -> Layout:
    """By the numbers that data.yaml's kpt_shape `declared`. Without it lines are boxes with keypoints where each line
    of all files has the same count of numbers, no box's and no four corners', and in most of them the numbers behind
    the first five lie in the box and are spread over it; else they are polygons."""
    if declared is not None:
        return Layout(declared)
    count = total = 0
    fitting = {2: 0, 3: 0}
    for file in files:
        for line in read_label_lines(file):
            if line.numbers is None:
                continue
            if len(line.numbers) in (5, _CORNERS) or (count and len(line.numbers) != count):
                return Layout(0)
            count, total = len(line.numbers), total + 1
            for each in fitting if count >= 7 else ():
                fitting[each] += _has_keypoints(line.numbers, each)
    if count < 7:
        return Layout(0)
    each = max(fitting, key=lambda each: fitting[each])
    which = f"each line has {count} numbers, and data.yaml no kpt_shape"
    if 2 * fitting[each] > total:
        return Layout(count - 5, f"labels are taken as boxes with keypoints: {which}: [{(count - 5) // each}, {each}]")
    if count % 2 == 0:  # neither, which each line says
        return Layout(0)
    advice = f"add it if they are boxes with keypoints, such as [{(count - 5) // 2}, 2]"
    return Layout(0, f"labels are taken as polygons: {which}: {advice}")


def box_of(shape: Sequence[float], hw: tuple[int, int]) -> tuple[float, ...] | None:
    """x y width height in pixels, or None where the numbers are no parts of the image."""
    if not all(-_SLACK <= value <= 1 + _SLACK for value in shape):
        return None
    height, width = hw
    if len(shape) == 4:
        cx, cy, w, h = shape
        return (cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height
    xs, ys = shape[0::2], shape[1::2]
    return min(xs) * width, min(ys) * height, (max(xs) - min(xs)) * width, (max(ys) - min(ys)) * height


def _has_keypoints(numbers: Sequence[float], each: int) -> bool:
    """Whether the numbers behind the first five are keypoints of `each` numbers (the third says whether it is seen)."""
    (cx, cy, w, h), rest = numbers[1:5], numbers[5:]
    if not rest or len(rest) % each or w <= 0 or h <= 0:
        return False
    if each == 3 and not set(rest[2::3]) <= {0, 1, 2}:
        return False
    points = [(rest[i], rest[i + 1]) for i in range(0, len(rest), each)]
    seen = [((x - cx) / w, (y - cy) / h) for x, y in points if (x, y) != (0, 0)]
    if not seen or any(max(abs(x), abs(y)) > _REACH for x, y in seen):
        return False
    if len(numbers) % 2 == 0:  # no polygon
        return True
    return any(max(side) - min(side) >= _LEAST_SPREAD for side in zip(*seen, strict=True))
