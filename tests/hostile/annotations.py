"""COCO, LVIS, VOC and YOLO annotations."""

import json

from tests.data.voc_set import thing, xml
from tests.hostile.bad import Bad, Content, coco, encoded, endless, folder, link, pipe
from tests.hostile.configs import LAUGHS

CONVERT = "data convert data/train.json data/train -o out.json"


def convert(name: str, content: Content | dict, sentence: str, more: str = "") -> Bad:
    text = json.dumps(content) if isinstance(content, dict) else content
    return Bad(f"coco: {name}", f"{CONVERT} {more}".strip(), sentence, {"data/train.json": text})


def file_name(name: str, written: str, sentence: str) -> Bad:
    return convert(name, coco(image={"file_name": written}), sentence)


def crowded(count: int) -> dict:
    box = coco()["annotations"][0]
    return coco(annotations=[{**box, "id": number} for number in range(count)])


VOC = "data convert voc/ImageSets/Main/train.txt voc/JPEGImages -o out.json"


def voc(name: str, sentence: str, **files: Content) -> Bad:
    parts: dict[str, Content] = {
        "voc/ImageSets/Main/train.txt": files.get("listed", "a\n"),
        "voc/Annotations/a.xml": files.get("annotation", xml(thing(), filename="a.png")),
        "voc/JPEGImages/a.png": encoded(".png"),
    }
    return Bad(f"voc: {name}", VOC, sentence, parts)


YOLO = "data convert yolo/data.yaml yolo/images -o out.json"


def yolo(name: str, sentence: str, **files: Content) -> Bad:
    parts: dict[str, Content] = {
        "yolo/data.yaml": files.get("names", "names: [cat]"),
        "yolo/labels/a.txt": files.get("labels", "0 .5 .5 .2 .2\n"),
        "yolo/images/a.png": files.get("image", encoded(".png")),
    }
    return Bad(f"yolo: {name}", YOLO, sentence, parts)


ENTITIES = '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;&b;">]><annotation>&d;</annotation>'
_NAMES = {1: "blue", 2: "green", 7: "red"}
MODELS_CLASSES = json.dumps(coco(categories=[{"id": number, "name": name} for number, name in _NAMES.items()]))
EVAL = "eval model.onnx --data data/val.json --images data/val"

ANNOTATIONS = [
    convert("an empty file", b"", "are not valid JSON"),
    convert("UTF-16", json.dumps(coco()).encode("utf-16"), "is not text in UTF-8"),
    convert("a broken off one", json.dumps(coco())[:90], "are not valid JSON"),
    convert("a folder", folder, r"annotations data/train\.json cannot be read: it is a folder"),
    convert("a pipe", pipe, "it is a device or a pipe"),
    convert("a device", endless, "it is a device or a pipe"),
    convert("a circle of links", link("train.json"), "Too many levels of symbolic links"),
    convert("brackets without end", "[" * 100_000, "are not valid JSON"),
    convert("objects without end", '{"a":' * 100_000, "are not valid JSON"),
    convert("a number of 5000 digits", "9" * 5000, "are not valid JSON"),
    convert("a list", "[]", "no list 'images'"),
    convert("an id of 100 digits", coco(image={"id": 10**99}), "a whole number is expected"),
    convert("a category of 100 digits", coco(category={"id": 10**99}), "needs a whole number 'id'"),
    convert("an image_id of 100 digits", coco(annotation={"image_id": 10**99}), "a whole number is expected"),
    convert("a width that is none", coco(image={"width": float("nan")}), "image size is not stated", "--strict"),
    convert("a width of 100 digits", coco(image={"width": 10**99}), "image size is not stated", "--strict"),
    convert("an infinite box", coco(annotation={"bbox": [0, 0, float("inf"), 9]}), "bad box", "--strict"),
    convert("a box of NaN", coco(annotation={"bbox": [float("nan")] * 4}), "bad box", "--strict"),
    convert("a box of 400 digits", coco(annotation={"bbox": [0, 0, 10**400, 9]}), "bad box", "--strict"),
    convert("boxes without end", crowded(20_001), r"a\.png has 20,001 boxes, and at most 20,000 are read"),
    convert(
        "classes without end",
        coco(categories=[{"id": number, "name": str(number)} for number in range(1, 30_002)]),
        "has 30,001 classes, and at most 30,000 are read",
    ),
    file_name("out of the folder", "../train.json", "lies outside of data/train"),
    file_name("a path of its own", "/etc/passwd", "lies outside of data/train"),
    file_name("a zero byte", "a\0.png", "is not a name that a file can have"),
    file_name("half of a character", "\ud800.png", "is not a name that a file can have"),
    file_name("an escaped byte", "\udcff.png", "is not a name that a file can have"),
    file_name("a terminal's escape", "\x1b[2J.png", r"'\\x1b\[2J\.png' is not a name that a file can have"),
    file_name("a terminal's escape in one byte", "\x9b2J.png", "is not a name that a file can have"),
    file_name("a turned name", "\u202egnp.png", "is not a name that a file can have"),
    file_name("two lines", "a\nnanogfl: fine", "is not a name that a file can have"),
    file_name("a name that no system takes", "a" * 5000, "no usable image"),
    Bad(
        "coco: a link out of the folder to what is no file",
        CONVERT,
        "no usable image .*a link to /dev/zero",
        {"data/train.json": json.dumps(coco(image={"file_name": "b.png"})), "data/train/b.png": endless},
    ),
    Bad(
        "coco: links in a circle",
        CONVERT,
        "no usable image .*a link to b.png",
        {"data/train.json": json.dumps(coco(image={"file_name": "b.png"})), "data/train/b.png": link("b.png")},
    ),
    Bad(
        "coco: a link and then out of the folder",
        CONVERT,
        "no usable image",
        {"data/train.json": json.dumps(coco(image={"file_name": "b/../passwd"})), "data/train/b": link("/etc/ssl")},
    ),
    Bad(
        "coco: an image twice",
        CONVERT,
        "lists the image a.png twice",
        {"data/train.json": json.dumps(coco(images=[{**coco()["images"][0], "id": number} for number in (1, 2)]))},
    ),
    convert("a flag that is none", coco(annotation={"iscrowd": [0]}), "bad iscrowd", "--strict"),
    convert("fractions", coco(annotation={"bbox": [0.1, 0.1, 0.5, 0.5]}), "fractions of the image"),
    Bad(
        "eval: an image that is a pipe",
        EVAL,
        "no usable image",
        {"data/val.json": MODELS_CLASSES, "data/val/a.png": pipe},
    ),
    Bad(
        "eval: an image that is a device",
        EVAL,
        "no usable image",
        {"data/val.json": MODELS_CLASSES, "data/val/a.png": endless},
    ),
    Bad("eval: annotations without an end", EVAL, "a device or a pipe", {"data/val.json": endless}),
    Bad(
        "eval: a training set that is a pipe",
        f"{EVAL} --train-data data/train.json",
        "a device or a pipe",
        {"data/train.json": pipe},
    ),
    Bad(
        "lvis: categories without end",
        CONVERT,
        "has neg_category_ids",
        {"data/train.json": json.dumps(coco(image={"neg_category_ids": "x" * 100_000}))},
    ),
    voc("entities", "declares a DOCTYPE or an ENTITY", annotation=ENTITIES),
    voc("entities in UTF-16", "declares a DOCTYPE or an ENTITY", annotation=ENTITIES.encode("utf-16")),
    voc("an xml that is a pipe", "has no object with a class in any of its 0 xml files", annotation=pipe),
    voc("an empty xml", "no element found", annotation=b""),
    voc(
        "elements without end",
        "has no object with a class|not well-formed",
        annotation="<annotation>" + "<a>" * 100_000,
    ),
    voc("a list that leads out", "lies outside of", listed="../../../etc/passwd\n"),
    voc("a list that is a pipe", "it is a device or a pipe", listed=pipe),
    voc("a list that is binary", "is a binary file", listed=b"a\0b"),
    voc("a list with an escape", "is not a name that a file can have", listed="\x1b[2J\n"),
    Bad(
        "voc: an image that leads out",
        f"{VOC} --strict",
        r"filename> \.\./\.\./etc/passwd: image found under another name: a\.png",
        {
            "voc/ImageSets/Main/train.txt": "a\n",
            "voc/Annotations/a.xml": xml(thing(), filename="../../etc/passwd"),
            "voc/JPEGImages/a.png": encoded(".png"),
        },
    ),
    yolo("billion laughs", "aliases written out", names=LAUGHS),
    yolo("a pipe", "it is a device or a pipe", names=pipe),
    yolo("a device", "it is a device or a pipe", names=endless),
    yolo("classes without end", "has 30,001 classes", names=f"names: [{', '.join(f'c{n}' for n in range(30_001))}]"),
    yolo("a binary label file", "is a binary file", labels=b"0 .5\0"),
    yolo("an image that is a pipe", "holds|no usable image", image=pipe),
    yolo("a class beyond the names", "class 1e\\+300 has no name", labels="1e300 .5 .5 .2 .2\n"),
    Bad(
        "draw: a stamp that is deep",
        "data draw shapes --train 1 --val 1",
        "holds files that are no drawing",
        {"shapes/drawing.json": "[" * 100_000},
    ),
    Bad("draw: a file", "data draw shapes", "shapes is a file", {"shapes": b""}),
]
