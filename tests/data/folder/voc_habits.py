"""VOC xml, with and without lists."""

from tests.data.folder.habits import TRIO, Habit, images, xmls
from tests.data.voc_set import thing, xml


def _voc() -> list[Habit]:
    beside = {**images("train/a.png", "train/b.png", "test/c.png"), **xmls("train/a.xml", "train/b.xml", "test/c.xml")}
    lists = "VOC2012/ImageSets/Main/"
    whole = {
        **images("VOC2012/JPEGImages/a.png", "VOC2012/JPEGImages/b.png", "VOC2012/JPEGImages/c.png"),
        **xmls("VOC2012/Annotations/a.xml", "VOC2012/Annotations/b.xml", "VOC2012/Annotations/c.xml"),
    }
    a, b, c = (f"VOC2012/JPEGImages/{name}.png" for name in "abc")
    flat = {**TRIO, **xmls("a.xml", "b.xml")}
    ab = {"train": ["a.png", "b.png"]}
    return [
        Habit(
            "voc: beside the images, folders",
            beside,
            {"train": ["train/a.png", "train/b.png"], "test": ["test/c.png"]},
            "voc",
        ),
        Habit(
            "voc: split lists",
            {
                **whole,
                f"{lists}train.txt": "a\r\nb\r\n",
                f"{lists}val.txt": "c",
                f"{lists}trainval.txt": "a\nb\nc",
                f"{lists}cat_train.txt": "a 1\nb -1\n",
            },
            {"train": [a, b], "val": [c]},
            "voc",
        ),
        Habit(
            "voc: trainval and val alone",
            {**whole, f"{lists}trainval.txt": "a\nb\nc", f"{lists}val.txt": "c"},
            {"train": [a, b], "val": [c]},
            "voc",
        ),
        Habit(
            "voc: default list",
            {**whole, f"{lists}default.txt": "a\nb\n"},
            {"train": [a, b]},
            "voc",
            said="belong to no split",
        ),
        Habit(
            "voc: paddle's lists of pairs",
            {
                **images("images/a.png", "images/b.png"),
                **xmls("annotations/a.xml", "annotations/b.xml"),
                "train.txt": "./images/a.png ./annotations/a.xml\n",
                "valid.txt": "./images/b.png ./annotations/b.xml\n",
            },
            {"train": ["images/a.png"], "val": ["images/b.png"]},
            "voc",
        ),
        Habit(
            "voc: lists of two years",
            {
                **images("VOC2007/JPEGImages/a.png", "VOC2012/JPEGImages/b.png", "VOC2012/JPEGImages/c.png"),
                **xmls("VOC2007/Annotations/a.xml", "VOC2012/Annotations/b.xml", "VOC2012/Annotations/c.xml"),
                "VOC2007/ImageSets/Main/train.txt": "a",
                "VOC2012/ImageSets/Main/train.txt": "b",
                "VOC2012/ImageSets/Main/val.txt": "c",
                "VOC2012/ImageSets/Segmentation/train.txt": "c",
            },
            {"train": ["VOC2007/JPEGImages/a.png", "VOC2012/JPEGImages/b.png"], "val": ["VOC2012/JPEGImages/c.png"]},
            "voc",
        ),
        Habit(
            "voc: masks of the same names",
            {**images("SegmentationClass/a.png", "trimaps/a.png", "photos/a.jpg"), **xmls("xmls/a.xml")},
            {"train": ["photos/a.jpg"]},
            "voc",
        ),
        Habit(
            "voc: one name in several folders",
            {**images("cats/1.png", "dogs/1.png"), **xmls("xmls/1.xml")},
            {"train": ["cats/1.png"]},
            "voc",
            said="1 names fit several images",
        ),
        Habit(
            "voc: a val part without boxes",
            {**images("train/a.png", "val/b.png"), **xmls("train/a.xml"), "val/b.xml": xml()},
            {"train": ["train/a.png"]},
            "voc",
            said="val is left out",
        ),
        Habit("voc: no lists", whole, {"train": [a, b, c]}, "voc"),
        Habit(
            "voc: deep folders",
            {**images("x/y/pics/a.png", "x/y/pics/b.png"), **xmls("x/y/anno/v2/a.xml", "x/y/anno/v2/b.xml")},
            {"train": ["x/y/pics/a.png", "x/y/pics/b.png"]},
            "voc",
        ),
        Habit(
            "voc: fiftyone",
            {**images("data/a.png"), **xmls("labels/a.xml", filename="a.png")},
            {"train": ["data/a.png"]},
            "voc",
        ),
        Habit(
            "voc: file names of before a renaming",
            {**images("a.png", "b.png"), **xmls("a.xml", "b.xml", filename="raccoon.jpg")},
            ab,
            "voc",
        ),
        Habit(
            "voc: equal file names",
            {**images("a.png", "b.png"), **xmls("a.xml", "b.xml", filename="a.png")},
            ab,
            "voc",
            said="another name",
        ),
        Habit(
            "voc: xml of other names",
            {**images("a.png"), **xmls("0001.xml", filename="a.png")},
            {"train": ["a.png"]},
            "voc",
        ),
        Habit(
            "voc: equal names in both parts",
            {
                **images("images/train/1.png", "images/val/1.png"),
                **xmls("anno/train/1.xml", "anno/val/1.xml", filename="1.png"),
            },
            {"train": ["images/train/1.png"], "val": ["images/val/1.png"]},
            "voc",
        ),
        Habit(
            "voc: a copy of the annotations",
            {**images("a.png"), **xmls("a.xml", "old/a.xml")},
            {"train": ["a.png"]},
            "voc",
            said="annotated twice",
        ),
        Habit(
            "voc: mixed suffixes",
            {
                **images("a.JPG", "b.jpeg", "c.webp", "d.bmp", "e.PNG"),
                **xmls("a.xml", "b.xml", "c.xml", "d.xml", "e.XML"),
            },
            {"train": ["a.JPG", "b.jpeg", "c.webp", "d.bmp", "e.PNG"]},
            "voc",
        ),
        Habit("voc: images that are not annotated", flat, ab, "voc", said="1 of 3 images are not annotated"),
        Habit(
            "voc: no size",
            {**TRIO, **xmls("a.xml", "b.xml", size="<size><width>0</width><height>0</height></size>")},
            ab,
            "voc",
        ),
        Habit(
            "voc: byte order mark",
            {**images("a.png"), "a.xml": b"\xef\xbb\xbf" + xml(thing()).encode()},
            {"train": ["a.png"]},
            "voc",
        ),
        Habit(
            "voc: entity bomb",
            {**flat, "b.xml": '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><annotation>&d;</annotation>'},
            {"train": ["a.png"]},
            "voc",
            said="ENTITY",
        ),
        Habit(
            "voc: background", {**TRIO, "a.xml": xml(thing()), "b.xml": xml()}, {"train": ["a.png", "b.png*0"]}, "voc"
        ),
        Habit("voc: train and val the same", {**flat, "train.txt": "a\nb\n", "val.txt": "a\nb\n"}, ab, "voc"),
    ]


HABITS = [*_voc()]
