"""Tiny data sets in the layouts in which people have them.

Every image is 100 wide and 60 high, and shows one object, a cat at 5 7 25 17, where nothing else is said.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from tests.data.voc_set import thing, xml

LINE = "0 0.15 0.2 0.2 0.166666667\n"
"""YOLO's of the cat"""
POLYGON = "0 .05 .116666667 .25 .116666667 .25 .283333333 .05 .283333333 .15 .2\n"
Content = str | bytes | Path
"""a path: a link to it"""
Files = Mapping[str, Content]


class Habit(NamedTuple):
    name: str
    files: Files
    expected: Mapping[str, Sequence[str]] | str
    """split -> images, each as PATH or PATH*BOXES; or a part of the error"""
    format: str = ""
    classes: tuple[str, ...] = ("cat",)
    said: str = ""
    """part of a remark or problem"""
    options: Mapping[str, Any] = {}


@cache
def picture(suffix: str, shade: int = 90) -> bytes:
    return cv2.imencode(suffix.lower(), np.full((60, 100, 3), shade, np.uint8))[1].tobytes()


def images(*paths: str) -> dict[str, Content]:
    """Each of a shade of its own, so that none is a copy of another."""
    return {path: picture(Path(path).suffix, 20 + 9 * number) for number, path in enumerate(paths)}


def labels(*paths: str, text: Content = LINE) -> dict[str, Content]:
    return dict.fromkeys(paths, text)


def xmls(*paths: str, **more: str) -> dict[str, Content]:
    return {path: xml(thing(), **more) for path in paths}


def coco(
    names: Sequence[str],
    *,
    categories: Sequence[Mapping[str, Any]] = ({"id": 1, "name": "cat"},),
    image: Mapping[str, Any] | None = None,
    box: Mapping[str, Any] | None = None,
    ids: Sequence[Any] | None = None,
) -> str:
    """One box of the last category in each image."""
    numbers = ids or range(1, len(names) + 1)
    last = categories[-1]["id"]
    return json.dumps(
        {
            "images": [
                {"id": i, "file_name": name, "width": 100, "height": 60, **(image or {})}
                for i, name in zip(numbers, names, strict=True)
            ],
            "annotations": [
                {"id": n, "image_id": i, "category_id": last, "bbox": [5, 7, 20, 10], **(box or {})}
                for n, i in enumerate(numbers)
            ],
            "categories": list(categories),
        }
    )


def labelme(path: str, kind: str = "rectangle", points: Any = ((25, 17), (5, 7)), **more: Any) -> str:
    shape = {"label": "cat", "shape_type": kind, "points": points}
    return json.dumps({"imagePath": path, "imageHeight": 60, "imageWidth": 100, "shapes": [shape], **more})


def cvat(*names: str, inside: str = "", **attributes: str) -> str:
    inside = inside or '<box label="cat" xtl="5" ytl="7" xbr="25" ybr="17" occluded="0"/>'
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    body = "".join(
        f'<image id="{n}" name="{name}" width="100" height="60"{more}>{inside}</image>' for n, name in enumerate(names)
    )
    return f"<annotations><version>1.1</version><meta><task/></meta>{body}</annotations>"


def table(*names: str, header: bool = True) -> str:
    if header:
        rows = [f"{name},100,60,cat,5,7,25,17" for name in names]
        return "\n".join(["filename,width,height,class,xmin,ymin,xmax,ymax", *rows])
    return "\n".join(f"{name},5,7,25,17,cat" for name in names)


AB = {"train": ["images/a.png", "images/b.png"]}
YOLO_AB = {**images("images/a.png", "images/b.png"), **labels("labels/a.txt", "labels/b.txt")}
PARTS = {"train": ["train/images/a.png", "train/images/b.png"], "val": ["valid/images/c.png"]}
ROBOFLOW = {
    **images("train/images/a.png", "train/images/b.png", "valid/images/c.png"),
    **labels("train/labels/a.txt", "train/labels/b.txt", "valid/labels/c.txt"),
}
TRIO = images("a.png", "b.png", "c.png")
NAMES = "names: [cat]\n"
