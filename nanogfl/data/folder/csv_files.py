"""Tables with one box per row: TensorFlow's with a header, keras-retinanet's without, and their relatives."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nanogfl.data.dataset import Problem
from nanogfl.data.folder.candidate import Candidate, part_of_source
from nanogfl.data.folder.part_names import part_of_file
from nanogfl.data.folder.survey import Survey
from nanogfl.data.readers.values import to_hw, to_number
from nanogfl.data.readers.voc_xml import VocAnnotation, VocObject
from nanogfl.errors import UserError
from nanogfl.io.images import IMAGE_SUFFIXES
from nanogfl.io.read_file import read_text

_MOST_BYTES = 4_000_000_000
"""per table: Open Images' training boxes take 2.3"""
_COLUMNS = {
    "image": "filename file image imagename imagepath filepath path imgpath imageid imagefilename img name uri",
    "class": "class label labelname classname category categoryname classid labelid object objectclass",
    "x1": "xmin x1 left xtl bboxxmin bboxx1 bboxleft minx startx",
    "y1": "ymin y1 top ytl bboxymin bboxy1 bboxtop miny starty",
    "x2": "xmax x2 right xbr bboxxmax bboxx2 bboxright maxx endx",
    "y2": "ymax y2 bottom ybr bboxymax bboxy2 bboxbottom maxy endy",
    "x": "x bboxx boxx",
    "y": "y bboxy boxy",
    "cx": "xcenter cx centerx xcentre centrex",
    "cy": "ycenter cy centery ycentre centrey",
    "w": "w bboxwidth bboxw boxwidth boxw",
    "h": "h bboxheight bboxh boxheight boxh",
    "bbox": "bbox box",
    "width": "width imagewidth imgwidth",
    "height": "height imageheight imgheight",
    "part": "split subset set usage",
}
_MEANING = {word: meaning for meaning, words in _COLUMNS.items() for word in words.split()}
_SIDES = (("x1", "y1", "x2", "y2"), ("cx", "cy", "w", "h"), ("x", "y", "w", "h"), ("bbox",))
"""columns that hold a box, the best first"""
_SAME_CLASS = "object"


class _Table(NamedTuple):
    rows: list[list[str]]
    column: Mapping[str, int]
    """meaning -> its place in a row"""


class _Row(NamedTuple):
    image: str
    name: str
    box: tuple[float, ...] | None
    written: str
    empty: bool
    """the image has no objects"""
    hw: tuple[int, int] | None
    part: str | None


def read_csv_files(survey: Survey) -> Candidate:
    """The candidate csv. Tables of other things are passed over."""
    found = Candidate("csv", layout="finite numbers xmin ymin xmax ymax")
    names: dict[str, str] = {}
    tables: dict[Path, list[_Row]] = {}
    for path in survey.files(".csv", ".tsv"):
        try:
            lines = _lines(read_text(path, "table", _MOST_BYTES))
        except (csv.Error, UserError) as error:
            found.problems.append(Problem(path.name, f"unusable table: {error}"))
            continue
        if table := _table(lines):
            tables[path] = [_row(row, table.column) for row in table.rows]
            if "bbox" in table.column and "x1" not in table.column:
                found.remarks.append(f"{path.name}: the column bbox is taken as x y width height")
            if "class" not in table.column:
                found.remarks.append(f"{path.name} names no classes: all boxes are of the class '{_SAME_CLASS}'")
        elif lines and all(len(line) == 2 for line in lines[:100]):
            # Open Images: /m/01g317, Person; but keras-retinanet: person, 0
            names |= {line[0]: line[1] for line in lines if len(line) == 2 and to_number(line[1]) is None}
        elif lines and "region_shape_attributes" in lines[0]:
            found.problems.append(Problem(path.name, "VIA's table is not read: export it as COCO"))
    boxes = [row.box for rows in tables.values() for row in rows if row.box]
    found.fractions = bool(boxes) and all(
        min(box) >= 0 and box[0] + box[2] <= 1.001 and box[1] + box[3] <= 1.001 for box in boxes
    )
    if found.fractions:
        found.remarks.append("all boxes lie within 0 .. 1 and are taken as fractions of the image")
    for path, rows in tables.items():
        _add(survey, path, rows, names, found)
    return found


def _add(survey: Survey, path: Path, rows: Sequence[_Row], names: Mapping[str, str], found: Candidate) -> None:
    of_image: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        of_image[row.image].append(row)
    part = part_of_source(survey, path)
    for image, own in of_image.items():
        objects = tuple(
            VocObject(names.get(row.name, row.name), row.box, row.written, False) for row in own if not row.empty
        )
        found.add(survey, image, path, VocAnnotation(image, own[0].hw, objects), own[0].part or part)


def _lines(text: str) -> list[list[str]]:
    """The rows that are not empty. Separators: comma, semicolon or tab, whichever the first line has most."""
    first = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text.replace("\r\n", "\n").replace("\r", "\n")), delimiter=delimiter)
    stripped = ([cell.strip() for cell in row] for row in rows)
    return [row for row in stripped if any(row) and not row[0].startswith("#")]


def _table(lines: list[list[str]]) -> _Table | None:
    """None for a table that is not about boxes."""
    if not lines:
        return None
    column: dict[str, int] = {}
    for place, cell in enumerate(lines[0]):
        if meaning := _MEANING.get(re.sub(r"[^a-z0-9]", "", cell.casefold())):
            column.setdefault(meaning, place)
    if "image" in column:
        if "w" not in column and "width" in column and column.keys() & {"x", "cx"}:  # of the box, as there is no other
            column["w"], column["h"] = column.pop("width"), column.pop("height", len(lines[0]))
        if any(set(sides) <= column.keys() for sides in _SIDES):
            return _Table(lines[1:], column)
    if _looks_like_keras(lines[0]):
        return _Table(lines, {"image": 0, "x1": 1, "y1": 2, "x2": 3, "y2": 4, "class": 5})
    if len(lines[0]) == 8 and _is_image_name(lines[0][5]) and to_number(lines[0][1]) is not None:  # makesense.ai
        return _Table(lines, {"class": 0, "x": 1, "y": 2, "w": 3, "h": 4, "image": 5, "width": 6, "height": 7})
    if len(lines[0]) >= 11 and part_of_file(lines[0][0]) and all(len(line) >= 11 for line in lines):  # AutoML's
        return _Table(lines, {"part": 0, "image": 1, "class": 2, "x1": 3, "y1": 4, "x2": 7, "y2": 8})
    return None


def _looks_like_keras(row: list[str]) -> bool:
    """path,x1,y1,x2,y2,class; the last five are empty for an image without objects."""
    if len(row) != 6 or not _is_image_name(row[0]):
        return False
    return not any(row[1:]) or all(to_number(cell) is not None for cell in row[1:5])


def _is_image_name(text: str) -> bool:
    return "." + text.rpartition(".")[2].lower() in IMAGE_SUFFIXES


def _row(row: Sequence[str], column: Mapping[str, int]) -> _Row:
    def cell(meaning: str) -> str:
        place = column.get(meaning, len(row))
        return row[place] if place < len(row) else ""

    sides = next(sides for sides in _SIDES if set(sides) <= column.keys())
    texts = [cell(side) for side in sides]
    if sides == ("bbox",):  # [x, y, width, height]
        texts = re.split(r"[,\s]+", texts[0].strip("[]() "))
    numbers = [number for text in texts if (number := to_number(text)) is not None]
    box: tuple[float, ...] | None = tuple(numbers) if len(numbers) == len(texts) == 4 else None
    if box and "x1" in sides:
        box = box[0], box[1], box[2] - box[0], box[3] - box[1]
    elif box and "cx" in sides:
        box = box[0] - box[2] / 2, box[1] - box[3] / 2, box[2], box[3]
    hw = to_hw(to_number(cell("height")), to_number(cell("width")))
    name = " ".join(cell("class").split()) if "class" in column else _SAME_CLASS
    shown = f"({', '.join(text[:40] or 'nothing' for text in texts[:8])})"
    return _Row(cell("image"), name, box, shown, not any(texts), hw, part_of_file(cell("part")))
