"""YOLO labels, with all kinds of data.yaml and without one."""

from pathlib import Path
from typing import Any

from tests.data.folder.habits import (
    AB,
    LINE,
    NAMES,
    PARTS,
    POLYGON,
    ROBOFLOW,
    TRIO,
    YOLO_AB,
    Content,
    Habit,
    images,
    labels,
)


def _yolo() -> list[Habit]:
    def roboflow(name: str, data: Content, said: str = "", **more: Any) -> Habit:
        return Habit(f"yolo: {name}", {**ROBOFLOW, "data.yaml": data}, PARTS, "yolo", said=said, **more)

    one_folder = images("images/a.png", "images/b.png", "images/c.png")
    one_labels = labels("labels/a.txt", "labels/b.txt", "labels/c.txt")
    abc = {"train": ["images/a.png", "images/b.png"], "val": ["images/c.png"]}
    darknet = {
        "data/obj.names": "cat\n",
        "data/obj.data": "classes= 1\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n",
        "data/train.txt": "data/obj/a.png\ndata/obj/b.png\n",
        "data/valid.txt": "data/obj/c.png\n",
    }
    return [
        roboflow("right data.yaml", "train: train/images\nval: valid/images\nnc: 1\nnames: ['cat']\n"),
        roboflow(
            "one folder too high",
            "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n" + NAMES,
            "test of the data file is not here",
        ),
        roboflow(
            "absolute path of another machine",
            "path: G:\\set\ntrain: /Users/me/set/train\nval: C:\\set\\valid\nnames: {0: cat}\n",
        ),
        roboflow(
            "blanks, byte order mark, CRLF",
            b"\xef\xbb\xbftrain: train/images   \r\nval: valid/images\r\nnames:\r\n  - cat\r\n",
        ),
        roboflow("the key valid", "train: train/images\nvalid: valid/images\n" + NAMES),
        roboflow("places as lists", "train: [train/images]\nval: [valid/images]\n" + NAMES),
        roboflow("patterns", "train: train/images/*.png\nval: valid/images/*.png\n" + NAMES),
        roboflow("wrong nc", "train: train/images\nval: valid/images\nnc: 80\n" + NAMES, "nc is"),
        Habit(
            "yolo: names that are missing",
            {**ROBOFLOW, "data.yaml": "names: [cat]", "train/labels/a.txt": LINE + "3 .5 .5 .2 .2\n"},
            {**PARTS, "train": ["train/images/a.png*2", "train/images/b.png"]},
            "yolo",
            ("cat", "3"),
            "also use 3 (1 boxes)",
        ),
        Habit("yolo: no data.yaml", ROBOFLOW, PARTS, "yolo", ("0",), "no names of classes"),
        Habit("yolo: names are given", ROBOFLOW, PARTS, "yolo", ("dog",), options={"classes": ["dog"]}),
        Habit("yolo: names with signs", {**YOLO_AB, "data.yaml": 'names: ["no"]'}, AB, "yolo", ("no",)),
        Habit(
            "yolo: train and val the same",
            {**YOLO_AB, "data.yaml": "train: images\nval: images\n" + NAMES},
            AB,
            "yolo",
            said="same images",
        ),
        Habit(
            "yolo: val is a folder that is not there",
            {**ROBOFLOW, "data.yaml": "train: split/train/images\nval: split/val/images\n" + NAMES},
            PARTS,
            "yolo",
            said="val of the data file is not here",
        ),
        Habit(
            "yolo: no val at all",
            {
                **images("train/images/a.png"),
                **labels("train/labels/a.txt"),
                "data.yaml": "train: x/train/images\nval: x/valid/images\n" + NAMES,
            },
            {"train": ["train/images/a.png"]},
            "yolo",
            said="val of the data file is not here",
        ),
        Habit(
            "yolo: places are lists of images",
            {
                **one_folder,
                **one_labels,
                "data.yaml": "path: /x\ntrain: train.txt\nval: val.txt\n" + NAMES,
                "train.txt": "/x/images/a.png\n./images/b.png\n",
                "val.txt": "images\\c.png\n",
            },
            abc,
            "yolo",
        ),
        Habit(
            "yolo: lists without data.yaml",
            {
                **one_folder,
                **one_labels,
                "classes.txt": "cat\n",
                "train.txt": "images/a.png\nimages/b.png",
                "val.txt": "images/c.png",
            },
            abc,
            "yolo",
            said="classes are those of classes.txt",
        ),
        Habit(
            "yolo: darknet",
            {
                **images("data/obj/a.png", "data/obj/b.png", "data/obj/c.png"),
                **labels("data/obj/a.txt", "data/obj/b.txt", "data/obj/c.txt"),
                **darknet,
            },
            {"train": ["data/obj/a.png", "data/obj/b.png"], "val": ["data/obj/c.png"]},
            "yolo",
        ),
        Habit(
            "yolo: CVAT's export",
            {
                **images("obj_train_data/a.png"),
                **labels("obj_train_data/a.txt"),
                "obj.names": "cat",
                "train.txt": "data/obj_train_data/a.png",
                "obj.data": "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n",
            },
            {"train": ["obj_train_data/a.png"]},
            "yolo",
        ),
        Habit(
            "yolo: images/train, labels/train",
            {
                **images("images/train/a.png", "images/val/a.png"),
                **labels("labels/train/a.txt", "labels/val/a.txt"),
                "set.yaml": "train: images/train\nval: images/val\n" + NAMES,
            },
            {"train": ["images/train/a.png"], "val": ["images/val/a.png"]},
            "yolo",
        ),
        Habit(
            "yolo: beside the images, LabelImg",
            {**TRIO, **labels("a.txt", "b.txt"), "classes.txt": "cat\n"},
            {"train": ["a.png", "b.png", "c.png*0"]},
            "yolo",
            said="have no label file: background",
        ),
        Habit("yolo: polygons", {**YOLO_AB, **labels("labels/b.txt", text=POLYGON), "data.yaml": NAMES}, AB, "yolo"),
        Habit(
            "yolo: rotated boxes of nine numbers",
            {
                **images("images/a.png", "images/b.png"),
                **labels("labels/a.txt", "labels/b.txt", text="0 .05 .2 .15 .116666667 .25 .2 .15 .283333333\n"),
                "data.yaml": NAMES,
            },
            AB,
            "yolo",
        ),
        Habit(
            "yolo: keypoints",
            {
                **images("images/a.png", "images/b.png"),
                **labels("labels/a.txt", "labels/b.txt", text=LINE.strip() + " .1 .15 2 .2 .25 2\n"),
                "data.yaml": NAMES + "kpt_shape: [2, 3]\n",
            },
            AB,
            "yolo",
        ),
        Habit(
            "yolo: bad lines",
            {**YOLO_AB, "labels/b.txt": LINE + "cat .5 .5 .2 .2\n-1 .5 .5 .1 .1\n0 nan .5 .1 .1\n", "data.yaml": NAMES},
            AB,
            "yolo",
            said="bad line",
        ),
        Habit(
            "yolo: a label file that is no text",
            {**YOLO_AB, "labels/b.txt": b"\xff\xfe\0\1", "data.yaml": NAMES},
            {"train": ["images/a.png"]},
            "yolo",
            said="image left out",
        ),
        Habit(
            "yolo: empty label files",
            {**YOLO_AB, "labels/b.txt": "\r\n", "data.yaml": NAMES},
            {"train": ["images/a.png", "images/b.png*0"]},
            "yolo",
        ),
        Habit(
            "yolo: labels without images",
            {**YOLO_AB, "labels/z.txt": LINE, "data.yaml": NAMES},
            AB,
            "yolo",
            said="label file without image",
        ),
        Habit(
            "yolo: valid and val are copies",
            {
                **ROBOFLOW,
                "val/images/c.png": images("train/images/a.png", "train/images/b.png", "valid/images/c.png")[
                    "valid/images/c.png"
                ],
                "val/labels/c.txt": LINE,
                "classes.txt": "cat",
            },
            {**PARTS, "val": ["val/images/c.png"]},
            "yolo",
            said="copy of another image",
        ),
        Habit(
            "yolo: valid and val, data.yaml says which",
            {
                **ROBOFLOW,
                **images("val/images/d.bmp"),
                **labels("val/labels/d.txt"),
                "data.yaml": "train: train/images\nval: valid/images\nnames: [cat]",
            },
            PARTS,
            "yolo",
            said="are in val/images",
        ),
        Habit(
            "yolo: two data.yaml",
            {**ROBOFLOW, "data.yaml": NAMES, "old/data.yaml": "names: [dog]"},
            PARTS,
            "yolo",
            said="is not used",
        ),
        Habit(
            "yolo: linked folder",
            {
                **images("images/train/a.png", "store/i/b.png"),
                **labels("labels/train/a.txt", "store/l/b.txt"),
                "images/train/cam2": Path("../../store/i"),
                "labels/train/cam2": Path("../../store/l"),
                "data.yaml": NAMES,
            },
            {"train": ["images/train/a.png", "images/train/cam2/b.png"]},
            "yolo",
        ),
        Habit(
            "yolo: a loop of links",
            {**YOLO_AB, "images/up": Path(".."), "data.yaml": NAMES},
            AB,
            "yolo",
            said="not followed",
        ),
        Habit(
            "yolo: results of ultralytics",
            {
                **YOLO_AB,
                **images("runs/detect/predict/a.png"),
                **labels("runs/detect/predict/labels/a.txt"),
                "data.yaml": NAMES,
            },
            AB,
            "yolo",
            said="runs/detect",
        ),
        Habit(
            "yolo: pictures elsewhere",
            {**YOLO_AB, **images("docs/logo.png"), "data.yaml": NAMES},
            AB,
            "yolo",
            said="1 images are left out",
        ),
        Habit(
            "yolo: blanks and signs",
            {**images("my images/a b#1.png"), **labels("my labels/a b#1.txt"), "data.yaml": NAMES},
            {"train": ["my images/a b#1.png"]},
            "yolo",
        ),
        Habit(
            "yolo: only test",
            {**images("test/images/a.png"), **labels("test/labels/a.txt"), "data.yaml": NAMES},
            {"train": ["test/images/a.png"]},
            "yolo",
            said="test is taken as train",
        ),
        Habit(
            "yolo: a folder of a project called test",
            {**images("test_rig/a.png"), **labels("test_rig/a.txt"), "data.yaml": NAMES},
            {"train": ["test_rig/a.png"]},
            "yolo",
        ),
    ]


HABITS = [*_yolo()]
