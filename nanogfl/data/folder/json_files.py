"""The json files of a folder: COCO's, LabelMe's, CreateML's, and those of other kinds."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nanogfl.data.dataset import Problem
from nanogfl.data.folder.candidate import Candidate, part_of_source
from nanogfl.data.folder.coco_files import read_coco_files
from nanogfl.data.folder.part_names import part_of_folders
from nanogfl.data.folder.survey import Survey
from nanogfl.data.folder.xml_files import hull
from nanogfl.data.readers.values import is_number, to_hw
from nanogfl.data.readers.voc_xml import VocAnnotation, VocObject
from nanogfl.errors import UserError
from nanogfl.io.read_file import read_text

_MOST_BYTES = 8_000_000_000
"""as for COCO's json; LabelMe's may hold the image"""
_LEFT_OUT = "shape left out"
_SHAPES = ("rectangle", "polygon", "circle", "rotation", "oriented rectangle", "mask")
"""of LabelMe and X-AnyLabeling"""


def read_json_files(survey: Survey) -> tuple[list[Candidate], list[str]]:
    """The candidates coco, labelme and createml, and a sentence about each kind of json that is not read."""
    coco: dict[Path, dict[str, Any]] = {}
    labelme = Candidate("labelme", layout="two corners, or a polygon, of finite numbers")
    createml = Candidate("createml", layout="coordinates x y width height of finite numbers")
    unread: dict[str, list[Path]] = {}
    for path in survey.files(".json"):
        try:
            content = json.loads(read_text(path, "annotations", _MOST_BYTES))
        except (ValueError, RecursionError) as error:
            unread.setdefault(f"not valid JSON ({str(error)[:200]})", []).append(path)
            continue
        except UserError as error:
            unread.setdefault(str(error), []).append(path)
            continue
        if _is_coco(content):
            coco[path] = content
        elif isinstance(content, dict) and isinstance(content.get("shapes"), list):
            _read_labelme(content, path, survey, labelme)
        elif _is_createml(content):
            _read_createml(content, path, survey, createml)
        elif kind := _kind(content):
            unread.setdefault(kind, []).append(path)
    said = [_said(survey, kind, paths) for kind, paths in unread.items()]
    return [read_coco_files(survey, coco), labelme, createml], said


def _said(survey: Survey, kind: str, paths: list[Path]) -> str:
    more = f" and {len(paths) - 1} more .json" if len(paths) > 1 else ""
    return f"{survey.relative(paths[0]).as_posix()}{more}: {kind}"


def _is_coco(content: Any) -> bool:
    keys = ("images", "annotations", "categories")
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in keys)


def _is_createml(content: Any) -> bool:
    return isinstance(content, list) and any(
        isinstance(entry, dict) and "image" in entry and isinstance(entry.get("annotations"), list) for entry in content
    )


def _kind(content: Any) -> str:
    """What a json that is not read probably is, and what to do. Empty for one that is not about boxes."""
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, dict):
        return ""
    keys = set(first)
    advice = "export it as COCO, VOC or YOLO"
    if "data" in keys and keys & {"annotations", "completions", "predictions"}:
        return f"Label Studio's own JSON is not read: {advice}"
    if "classTitle" in str(first.get("objects"))[:10_000] or keys >= {"projectType", "classes"}:
        return f"Supervisely's layout is not read: {advice}"
    if "_via_img_metadata" in keys or any(isinstance(v, dict) and "regions" in v for v in first.values()):
        return f"the project of VIA (VGG Image Annotator) is not read: {advice}"
    if isinstance(content, dict) and {"items", "categories"} <= keys:
        return f"Datumaro's JSON is not read: {advice}"
    if "samples" in keys:
        return f"FiftyOne's own JSON is not read: {advice}"
    if keys & {"data_row", "Labeled Data", "DataRow ID"}:
        return f"Labelbox's JSON is not read: {advice}"
    if {"image_id", "bbox", "score"} <= keys:
        return "it holds detections and no annotations"
    if isinstance(first.get("labels"), list) and "name" in keys:
        return f"BDD's JSON is not read: {advice}"
    if isinstance(content, dict) and len(keys & {"images", "annotations", "categories"}) == 2:
        missing = ({"images", "annotations", "categories"} - keys).pop()
        return f"COCO's layout without the list '{missing}' is not read"
    return ""


def _read_labelme(content: Mapping[str, Any], path: Path, survey: Survey, labelme: Candidate) -> None:
    objects = tuple(
        thing
        for position, shape in enumerate(content["shapes"], start=1)
        if (thing := _labelme_object(shape, f"{path.name}, shape {position}", labelme.problems)) is not None
    )
    name = content.get("imagePath")
    part = part_of_folders(survey.relative(path).parent.parts)
    hw = to_hw(content.get("imageHeight"), content.get("imageWidth"))
    near = [survey.of_stem(path.stem, path.parent, part)]
    if isinstance(name, str) and (near[0] is None or near[0].parent != path.parent):
        near.insert(0, survey.find(name, path.parent, part))
    image = next((found for found in near if found), None)
    if image is None and isinstance(content.get("imageData"), str):
        labelme.absent.append(f"{path.name} (the image is inside the json)")
        reason = "image is missing: it is inside the json (imageData) alone: save it as a file"
        labelme.problems.append(Problem(path.name, reason))
        return
    read = VocAnnotation(str(name), hw, objects)
    labelme.add(survey, survey.relative(image).as_posix() if image else str(name), path, read, None)


def _labelme_object(shape: Any, where: str, problems: list[Problem]) -> VocObject | None:
    if not isinstance(shape, dict):
        problems.append(Problem(where, f"{_LEFT_OUT}: {str(shape)[:40]} is no shape"))
        return None
    kind = shape.get("shape_type", "polygon")
    if kind not in _SHAPES:
        problems.append(Problem(where, f"{_LEFT_OUT}: {str(kind)[:40]} is no box or polygon"))
        return None
    label, points = shape.get("label"), shape.get("points")
    name = " ".join(str(label).split()) if isinstance(label, str | int) else ""
    shown = str(points)[:80]
    numbers = _numbers(points)
    if kind == "circle" and numbers is not None and len(numbers) == 4:
        (cx, cy, x, y) = numbers
        radius = ((x - cx) ** 2 + (y - cy) ** 2) ** 0.5
        return VocObject(name, (cx - radius, cy - radius, 2 * radius, 2 * radius), shown, False)
    difficult = shape.get("difficult") is True  # X-AnyLabeling's
    return VocObject(name, hull([*numbers]) if numbers is not None else None, shown, difficult)


def _numbers(points: Any) -> list[float] | None:
    """x1 y1 x2 y2 ... of [[x1, y1], [x2, y2], ...]."""
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        return None
    return as_floats(value for point in points for value in point)


def as_floats(values: Iterable[Any]) -> list[float] | None:
    """None unless all are numbers that float32's users can hold."""
    try:
        found = [float(value) if is_number(value) else None for value in values]
    except OverflowError:  # whole numbers in JSON may have any number of digits
        return None
    return None if None in found else [value for value in found if value is not None]


def _read_createml(content: list[Any], path: Path, survey: Survey, createml: Candidate) -> None:
    part = part_of_source(survey, path)
    for entry in content:
        if not (isinstance(entry, dict) and isinstance(entry.get("annotations"), list)):
            createml.problems.append(Problem(path.name, f"bad entry: {str(entry)[:80]}"))
            continue
        objects = []
        for thing in entry["annotations"]:
            thing = thing if isinstance(thing, dict) else {}
            placed = thing.get("coordinates")
            sides = [placed.get(key) if isinstance(placed, dict) else None for key in ("x", "y", "width", "height")]
            numbers = as_floats(sides)
            box = None
            if numbers is not None:
                cx, cy, w, h = numbers
                box = (cx - w / 2, cy - h / 2, w, h)
            objects.append(VocObject(" ".join(str(thing.get("label") or "").split()), box, str(placed)[:80], False))
        name = str(entry.get("image"))
        createml.add(survey, name, path, VocAnnotation(name, None, tuple(objects)), part)
