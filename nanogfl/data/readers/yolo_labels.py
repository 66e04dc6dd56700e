"""Lines of YOLO's label files: boxes, polygons, or boxes with keypoints."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nanogfl.data.readers.values import to_number
from nanogfl.io.read_file import read_lines

_MOST_BYTES = 16_000_000
"""per label file: polygons of a thousand objects take about 5 MB"""
_SLACK = 0.01
"""by which rounding may take a normalised number out of 0 .. 1; further out, it is not normalised"""
_CORNERS = 9
"""numbers per line of a rotated box: class and four corners"""
_REACH = 0.6
"""largest distance of a keypoint from the box's centre, in widths and heights; both are drawn by hand"""
_LEAST_SPREAD = 0.25
"""smallest spread of an object's keypoints, in widths or heights of its box"""


class Line(NamedTuple):
    where: str
    text: str
    numbers: tuple[float, ...] | None
    """None if some of the text is not a number"""


class Layout(NamedTuple):
    """The meaning of a line of more than five numbers."""

    keypoints: int
    """numbers behind class and box; 0 for polygons"""
    said: str = ""
    """a guess and its reason, to be listed"""

    def shape(self, line: Line) -> tuple[float, ...] | None:
        """The numbers of the line's box or polygon; None for a line that is neither."""
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
    """The file's lines that are not empty. Raises UserError for a file that is not text."""
    lines = []
    for position, line in enumerate(read_lines(file, "label file", _MOST_BYTES), start=1):
        if text := line.strip():
            numbers = tuple(number for part in text.split() if (number := to_number(part)) is not None)
            whole = numbers if len(numbers) == len(text.split()) else None
            lines.append(Line(f"{file.name}, line {position}", text, whole))
    return lines


def find_layout(files: Iterable[Path], declared: int | None) -> Layout:
    """`declared`: the count of numbers in data.yaml's kpt_shape, which decides.

    Without it, lines are boxes with keypoints if every line has the same count of numbers, other than a box's and four
    corners', and the numbers behind the first five lie in the box and are spread over it in most lines. Otherwise they
    are polygons."""
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
    """x y width height in pixels of a normalised box or polygon; None if it lies outside 0 .. 1."""
    if not all(-_SLACK <= value <= 1 + _SLACK for value in shape):
        return None
    height, width = hw
    if len(shape) == 4:
        cx, cy, w, h = shape
        return (cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height
    xs, ys = shape[0::2], shape[1::2]
    return min(xs) * width, min(ys) * height, (max(xs) - min(xs)) * width, (max(ys) - min(ys)) * height


def _has_keypoints(numbers: Sequence[float], each: int) -> bool:
    """Whether the numbers behind the first five are keypoints of `each` numbers: x, y and visibility."""
    (cx, cy, w, h), rest = numbers[1:5], numbers[5:]
    if not rest or len(rest) % each or w <= 0 or h <= 0:
        return False
    if each == 3 and not set(rest[2::3]) <= {0, 1, 2}:
        return False
    points = [(rest[i], rest[i + 1]) for i in range(0, len(rest), each)]
    seen = [((x - cx) / w, (y - cy) / h) for x, y in points if (x, y) != (0, 0)]
    if not seen or any(max(abs(x), abs(y)) > _REACH for x, y in seen):
        return False
    if len(numbers) % 2 == 0:  # cannot be a polygon
        return True
    return any(max(side) - min(side) >= _LEAST_SPREAD for side in zip(*seen, strict=True))
