"""VOC's xml, one per image, and CVAT's xml of many images."""

import math
from collections import Counter, defaultdict
from pathlib import Path
from xml.etree import ElementTree

from nanogfl.data.dataset import Problem
from nanogfl.data.folder.candidate import Candidate, Item, part_of_source
from nanogfl.data.folder.part_names import part_of_file, part_of_folders
from nanogfl.data.folder.survey import Survey
from nanogfl.data.readers.image_folder import last_part
from nanogfl.data.readers.values import to_flag, to_hw, to_number
from nanogfl.data.readers.voc import LAYOUT
from nanogfl.data.readers.voc_xml import VocAnnotation, VocObject, voc_annotation, xml_root
from nanogfl.errors import UserError
from nanogfl.io.read_file import read_bounded

_MOST_BYTES = 200_000_000
"""per xml file: CVAT's with 100,000 boxes takes about 30"""
_CORNERS = {"box": ("xtl", "ytl", "xbr", "ybr"), "ellipse": ("cx", "cy", "rx", "ry")}


def read_xml_files(survey: Survey) -> list[Candidate]:
    """The candidates voc and cvat. A file that raises UserError is a problem of voc, and the others are read."""
    voc, cvat = Candidate("voc", layout=LAYOUT), Candidate("cvat", layout="a box xtl ytl xbr ybr of finite numbers")
    parsed: dict[Path, VocAnnotation] = {}
    for path in survey.files(".xml"):
        try:
            root = xml_root(read_bounded(path, "annotation", _MOST_BYTES))
            match root.tag:
                case "annotations":
                    _read_cvat(root, path, survey, cvat)
                case "annotation":
                    parsed[path] = voc_annotation(root)
                case "dataset" if root.find("images/image/box") is not None:
                    voc.problems.append(Problem(path.name, "dlib's xml is not read: convert it to COCO, VOC or YOLO"))
        except UserError as error:
            voc.problems.append(Problem(path.name, f"unusable xml: {error}"))
    _pair(parsed, survey, voc)
    return [voc, cvat]


def _pair(parsed: dict[Path, VocAnnotation], survey: Survey, voc: Candidate) -> None:
    """Each xml with its image: that of its <filename>, or of its own name if the first is not there or several xml
    files name it, as renamed and copied ones do."""
    named: dict[Path, Path | None] = {}
    part_of = {path: part_of_folders(survey.relative(path).parent.parts) for path in parsed}
    for path, read in parsed.items():
        found = survey.find(read.filename, path.parent, part_of[path])
        named[path] = found or survey.of_stem(path.stem, path.parent, part_of[path])
    claims = Counter(image for image in named.values() if image)
    of_image: dict[Path, list[Path]] = defaultdict(list)
    for path, read in parsed.items():
        image = named[path]
        if image is not None and claims[image] > 1 and image.stem != path.stem:
            image = survey.of_stem(path.stem, path.parent, part_of[path])
        if image is None:
            name = read.filename or path.stem
            voc.absent.append(name)
            voc.problems.append(Problem(name[:200], f"image is missing: no such file in the folder ({path.name})"))
        else:
            of_image[image].append(path)
    for image, paths in of_image.items():
        around = Counter(survey.relative(image).parent.parts)
        # nearest: copies of annotations lie in folders of other names
        path, *others = sorted(
            paths, key=lambda path: -sum((around & Counter(survey.relative(path).parent.parts)).values())
        )
        if last_part(parsed[path].filename) not in ("", last_part(image.name), last_part(image.stem)):
            reason = f"image found under another name: {image.name}"
            voc.problems.append(Problem(f"{path.name}, <filename> {parsed[path].filename[:200]}", reason))
        voc.problems += [
            Problem(image.name, f"annotated twice: {survey.relative(path)} is used, {survey.relative(other)} is not")
            for other in others
        ]
        voc.items.append(Item(image, path, None, parsed[path]))
    voc.items.sort(key=lambda item: item.image)


def _read_cvat(root: ElementTree.Element, path: Path, survey: Survey, cvat: Candidate) -> None:
    """Raises UserError for CVAT's tracks of a video, which name no images."""
    images = root.findall("image")
    if not images and root.find("track") is not None:
        raise UserError("it holds CVAT's tracks of a video: export it again as 'CVAT for images 1.1' or COCO")
    part = part_of_source(survey, path)
    for image in images:
        objects = tuple(thing for node in image if (thing := _cvat_object(node)) is not None)
        if left := [node.tag for node in image if node.tag in ("polyline", "points", "mask", "skeleton", "cuboid")]:
            where = f"{path.name}, {image.get('name', '')[:200]}"
            cvat.problems.append(Problem(where, f"shape left out: {', '.join(sorted(set(left)))} is no box or polygon"))
        hw = to_hw(to_number(image.get("height", "")), to_number(image.get("width", "")))
        name = image.get("name", "")
        own = part_of_file(image.get("subset", "")) or part
        cvat.add(survey, name, path, VocAnnotation(name, hw, objects), own)


def _cvat_object(node: ElementTree.Element) -> VocObject | None:
    if node.tag not in ("box", "polygon", "ellipse"):
        return None
    name = " ".join(node.get("label", "").split())
    difficult = any(
        (child.get("name") or "").lower() == "difficult" and to_flag((child.text or "").strip())
        for child in node.findall("attribute")
    )
    turn = node.get("rotation")
    if node.tag == "polygon":
        written = node.get("points", "")
        pairs = [point.split(",") for point in written.split(";") if point.strip()]
        numbers = [to_number(text) for pair in pairs for text in pair]
        return VocObject(name, hull(numbers), written[:80], difficult)
    texts = [node.get(key, "nothing")[:40] for key in _CORNERS[node.tag]]
    numbers = [to_number(text) for text in texts]
    shown = f"({', '.join(texts)})"
    if any(number is None for number in numbers):
        return VocObject(name, None, shown, difficult)
    a, b, c, d = (number for number in numbers if number is not None)
    box = (a, b, c - a, d - b) if node.tag == "box" else (a - c, b - d, 2 * c, 2 * d)
    return VocObject(name, box, shown, difficult, turn)


def hull(numbers: list[float | None]) -> tuple[float, ...] | None:
    """x1 y1 x2 y2 ... -> the x y width height around them; None unless all are numbers, of two points or more."""
    finite = [number for number in numbers if number is not None and math.isfinite(number)]
    if len(finite) != len(numbers) or len(finite) < 4 or len(finite) % 2:
        return None
    xs, ys = finite[0::2], finite[1::2]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
