"""COCO, LVIS, VOC and YOLO annotations."""

import json

from tests.data.voc_set import thing, xml
from tests.hostile.bad import Bad, Content, coco, encoded, endless, link, pipe
from tests.hostile.configs import LAUGHS

CONVERT = "data convert data/train.json data/train -o out.json"
VOC = "data convert voc/ImageSets/Main/train.txt voc/JPEGImages -o out.json"
YOLO = "data convert yolo/data.yaml yolo/images -o out.json"
EVAL = "eval model.onnx --data data/val.json --images data/val"
NO_NAME = "is not a name that a file can have"


def convert(name: str, content: Content | dict, sentence: str, more: str = "", **files: Content) -> Bad:
    text = json.dumps(content) if isinstance(content, dict) else content
    parts = {"data/train.json": text, **{f"data/train/{key}": part for key, part in files.items()}}
    return Bad(f"coco: {name}", f"{CONVERT} {more}".strip(), sentence, parts)


def file_name(name: str, written: str, sentence: str, **files: Content) -> Bad:
    return convert(name, coco(image={"file_name": written}), sentence, **files)


def voc(name: str, sentence: str, **files: Content) -> Bad:
    parts: dict[str, Content] = {
        "voc/ImageSets/Main/train.txt": files.get("listed", "a\n"),
        "voc/Annotations/a.xml": files.get("annotation", xml(thing(), filename="a.png")),
        "voc/JPEGImages/a.png": encoded(".png"),
    }
    return Bad(f"voc: {name}", VOC, sentence, parts)


def yolo(name: str, sentence: str, **files: Content) -> Bad:
    parts: dict[str, Content] = {
        "yolo/data.yaml": files.get("names", "names: [cat]"),
        "yolo/labels/a.txt": files.get("labels", "0 .5 .5 .2 .2\n"),
        "yolo/images/a.png": files.get("image", encoded(".png")),
    }
    return Bad(f"yolo: {name}", YOLO, sentence, parts)


ENTITIES = '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;&b;">]><annotation>&d;</annotation>'
MODELS_CLASSES = coco(
    categories=[{"id": number, "name": name} for number, name in ((1, "blue"), (2, "green"), (7, "red"))]
)
MANY_CLASSES = coco(categories=[{"id": number, "name": str(number)} for number in range(1, 30_002)])
MANY_BOXES = coco(annotations=[{**coco()["annotations"][0], "id": number} for number in range(20_001)])

ANNOTATIONS = [
    convert("an empty file", b"", "are not valid JSON"),
    convert("UTF-16", json.dumps(coco()).encode("utf-16"), "is not text in UTF-8"),
    convert("a pipe", pipe, "it is a device or a pipe"),
    convert("a device", endless, "it is a device or a pipe"),
    convert("a circle of links", link("train.json"), "Too many levels of symbolic links"),
    convert("brackets without end", "[" * 100_000, "are not valid JSON"),
    convert("a number of 5000 digits", "9" * 5000, "are not valid JSON"),
    convert("an id of 100 digits", coco(image={"id": 10**99}), "a whole number is expected"),
    convert("a width of 100 digits", coco(image={"width": 10**99}), "image size is not stated", "--strict"),
    convert("a box of NaN", coco(annotation={"bbox": [float("nan")] * 4}), "bad box", "--strict"),
    convert("boxes without end", MANY_BOXES, r"a\.png has 20,001 boxes, and at most 20,000 are read"),
    convert("classes without end", MANY_CLASSES, "has 30,001 classes, and at most 30,000 are read"),
    convert("an image whose size is a bomb's", coco(image={"width": 0}), "unreadable image.*200000000", "--strict",
        **{"a.png": b"P6 30000 30000 255 abc"}),
    file_name("out of the folder", "../train.json", "lies outside of data/train"),
    file_name("a path of its own", "/etc/passwd", "lies outside of data/train"),
    file_name("a zero byte", "a\0.png", NO_NAME),
    file_name("half of a character", "\ud800.png", NO_NAME),
    file_name("a terminal's escape", "\x1b[2J.png", rf"'\\x1b\[2J\.png' {NO_NAME}"),
    file_name("a turned name", "\u202egnp.png", NO_NAME),
    file_name("two lines", "a\nnanogfl: fine", NO_NAME),
    file_name("a name that no system takes", "a" * 5000, "no usable image"),
    file_name("a link to a device", "b.png", "no usable image .*a link to /dev/zero", **{"b.png": endless}),
    file_name("a link and then out of the folder", "b/../passwd", "no usable image", b=link("/etc/ssl")),
    Bad("eval: an image that is a pipe", EVAL, "no usable image",
        {"data/val.json": json.dumps(MODELS_CLASSES), "data/val/a.png": pipe}),
    Bad("eval: a training set that is a pipe", f"{EVAL} --train-data data/train.json", "a device or a pipe",
        {"data/train.json": pipe}),
    convert("lvis: categories without end", coco(image={"neg_category_ids": "x" * 100_000}), "has neg_category_ids"),
    voc("entities", "declares a DOCTYPE or an ENTITY", annotation=ENTITIES),
    voc("entities in UTF-16", "declares a DOCTYPE or an ENTITY", annotation=ENTITIES.encode("utf-16")),
    voc("an xml that is a pipe", "has no object with a class in any of its 0 xml files", annotation=pipe),
    voc("elements without end", "no object with a class|not well-formed", annotation="<annotation>" + "<a>" * 100_000),
    voc("a list that leads out", "lies outside of", listed="../../../etc/passwd\n"),
    voc("a list that is a pipe", "it is a device or a pipe", listed=pipe),
    voc("a list with an escape", NO_NAME, listed="\x1b[2J\n"),
    yolo("billion laughs", "aliases written out", names=LAUGHS),
    yolo("a device", "it is a device or a pipe", names=endless),
    yolo("a binary label file", "is a binary file", labels=b"0 .5\0"),
    yolo("an image that is a pipe", "holds|no usable image", image=pipe),
    yolo("a class beyond the names", "class 1e\\+300 has no name", labels="1e300 .5 .5 .2 .2\n"),
    Bad("draw: a stamp that is deep", "data draw shapes --train 1 --val 1", "holds files that are no drawing",
        {"shapes/drawing.json": "[" * 100_000}),
]  # fmt: skip
