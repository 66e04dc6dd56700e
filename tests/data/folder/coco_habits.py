"""COCO json, as tools export it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.data.folder.habits import TRIO, Habit, coco, images

HEADING = ({"id": 0, "name": "animals", "supercategory": "none"}, {"id": 1, "name": "cat", "supercategory": "animals"})
RUNS = [5 * 60 + 7, *[10, 50] * 19, 10, 75 * 60 - 17]
FLAT = [[5, 7, 25, 7, 25, 17, 5, 17]]


def _coco() -> list[Habit]:
    flat = {**TRIO, "_annotations.coco.json": coco(["a.png", "b.png"])}
    ab = {"train": ["a.png", "b.png"]}

    def one(name: str, said: str = "", names: Sequence[str] = ("a.png", "b.png"), **more: Any) -> Habit:
        return Habit(f"coco: {name}", {**TRIO, "labels.json": coco(names, **more)}, ab, "coco", said=said)

    return [
        Habit(
            "coco: roboflow",
            {
                **images("train/a.png", "valid/c.png"),
                "train/_annotations.coco.json": coco(["a.png"], categories=HEADING),
                "valid/_annotations.coco.json": coco(["c.png"], categories=HEADING),
                "README.roboflow.txt": "exported",
            },
            {"train": ["train/a.png"], "val": ["valid/c.png"]},
            "coco",
            said="heading: animals",
        ),
        one(
            "heading of the name of the only class",
            categories=(
                {"id": 0, "name": "cat", "supercategory": "none"},
                {"id": 1, "name": "cat", "supercategory": "cat"},
            ),
        ),
        one(
            "labelme's background",
            "heading: _background_",
            categories=({"id": 0, "name": "_background_"}, {"id": 1, "name": "cat"}),
        ),
        Habit(
            "coco: as cocodataset.org",
            {
                **images("train2017/1.png", "val2017/2.png"),
                "annotations/instances_train2017.json": coco(["1.png"]),
                "annotations/instances_val2017.json": coco(["2.png"]),
                "annotations/hands_train2017.json": coco(["1.png"], categories=({"id": 1, "name": "person"},)),
                "annotations/captions_train2017.json": json.dumps({"images": [], "annotations": [{"caption": "a"}]}),
            },
            {"train": ["train2017/1.png"], "val": ["val2017/2.png"]},
            "coco",
            ("cat",),
            "annotated twice: instances_train2017.json is used",
        ),
        Habit(
            "coco: equal names in both parts",
            {
                **images("images/train/1.png", "images/val/1.png"),
                "annotations/train.json": coco(["1.png"]),
                "annotations/val.json": coco(["1.png"]),
            },
            {"train": ["images/train/1.png"], "val": ["images/val/1.png"]},
            "coco",
        ),
        Habit(
            "coco: one json, parts are folders",
            {**images("images/train/1.png", "images/val/2.png"), "instances_default.json": coco(["1.png", "2.png"])},
            {"train": ["images/train/1.png"], "val": ["images/val/2.png"]},
            "coco",
        ),
        Habit(
            "coco: one json, lists",
            {
                **TRIO,
                "all.json": coco(["a.png", "b.png", "c.png"]),
                "train.txt": "a.png\nb.png\n",
                "val.txt": "./c.png\n",
            },
            {"train": ["a.png", "b.png"], "val": ["c.png"]},
            "coco",
        ),
        Habit(
            "coco: folders in names",
            {
                **images("x/cam1/1.png", "x/cam2/1.png"),
                "train.json": coco(["./cam2/1.png"]),
                "val.json": coco(["C:\\me\\cam1\\1.png"]),
            },
            {"train": ["x/cam2/1.png"], "val": ["x/cam1/1.png"]},
            "coco",
        ),
        Habit(
            "coco: fiftyone",
            {**images("data/a.png", "data/b.png"), "labels.json": coco(["a.png", "b.png"])},
            {"train": ["data/a.png", "data/b.png"]},
            "coco",
        ),
        Habit(
            "coco: CVAT's tasks side by side",
            {
                **images("t1/images/1.png", "t2/images/1.png"),
                "t1/annotations/instances_default.json": coco(["1.png"]),
                "t2/annotations/instances_default.json": coco(
                    ["1.png"], categories=({"id": 1, "name": "dog"}, {"id": 2, "name": "cat"})
                ),
            },
            {"train": ["t1/images/1.png", "t2/images/1.png"]},
            "coco",
            ("cat", "dog"),
            "differently",
        ),
        Habit(
            "coco: byte order mark and CRLF",
            {**TRIO, "l.json": b"\xef\xbb\xbf" + coco(["a.png", "b.png"]).replace(",", ",\r\n").encode()},
            ab,
            "coco",
        ),
        Habit(
            "coco: odd names",
            {**images("b l a/ä #1.PNG", "b l a/100%.png"), "l.json": coco(["ä #1.PNG", "100%.png"])},
            {"train": ["b l a/100%.png", "b l a/ä #1.PNG"]},
            "coco",
        ),
        Habit(
            "coco: composed characters",
            {**images("ä.png"), "l.json": coco(["a\u0308.png"])},
            {"train": ["ä.png"]},
            "coco",
        ),
        one("url-encoded names", "under another name", ("http://localhost:8080/data/a%2Epng?x=1", "b.png")),
        one("absolute names", "under another name", ("/home/me/set/a.png", "C:\\Users\\me\\b.png")),
        one(
            "label studio's names",
            "under another name",
            ("../../label-studio/media/upload/4/0123abcd-a.png", "/data/local-files/?d=set/b.png"),
        ),
        one("other suffix", "under another name", ("a.jpg", "B.JPG")),
        one("names without suffix", "under another name", ("a", "b")),
        one("names that lead out", "under another name", ("../../../a.png", "../b.png")),
        one("text for numbers", ids=("00001", "x2"), box={"category_id": "1", "bbox": ["5", "7", "20.0", "10"]}),
        one("iscrowd as text", box={"iscrowd": "0"}),
        one("no size", "image size is not stated", image={"width": None, "height": 0}),
        one("polygons alone", box={"bbox": [], "segmentation": FLAT}),
        one("polygon of pairs missing its outer list", box={"bbox": None, "segmentation": FLAT[0]}),
        one("run lengths alone", box={"bbox": None, "segmentation": {"size": [60, 100], "counts": RUNS}}),
        one(
            "compressed run lengths alone",
            box={"bbox": None, "segmentation": {"size": [60, 100], "counts": compressed(RUNS)}},
        ),
        Habit(
            "coco: broken run lengths",
            {
                **TRIO,
                "l.json": coco(["a.png"], box={"bbox": None, "segmentation": {"size": [60, 100], "counts": "PPP"}}),
            },
            "no usable box",
        ),
        Habit(
            "coco: one image twice",
            {**TRIO, "l.json": coco(["a.png", "a.png"])},
            {"train": ["a.png*2"]},
            "coco",
            said="listed twice",
        ),
        Habit(
            "coco: a missing image",
            {**TRIO, "l.json": coco(["a.png", "b.png", "nowhere.png"])},
            ab,
            "coco",
            said="image is missing",
        ),
        Habit(
            "coco: background",
            {
                **TRIO,
                "l.json": json.dumps(
                    {
                        **json.loads(coco(["a.png", "b.png", "c.png"])),
                        "annotations": [{"id": 1, "image_id": 2, "category_id": 1, "bbox": [5, 7, 20, 10]}],
                    }
                ),
            },
            {"train": ["a.png*0", "b.png", "c.png*0"]},
            "coco",
        ),
        Habit(
            "coco: annotations of nothing",
            {
                **TRIO,
                "l.json": json.dumps(
                    {
                        **json.loads(coco(["a.png"])),
                        "annotations": [
                            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 7, 20, 10]},
                            {"image_id": 77, "category_id": 1},
                            {"image_id": 1, "category_id": 9, "bbox": [5, 7, 20, 10]},
                            None,
                        ],
                    }
                ),
            },
            {"train": ["a.png"]},
            "coco",
            said="unknown image",
        ),
        Habit(
            "coco: linked images",
            {**images("store/a.png"), "train/b.png": Path("../store/a.png"), "train.json": coco(["b.png"])},
            {"train": ["train/b.png"]},
            "coco",
        ),
        Habit(
            "coco: leftovers",
            {
                **flat,
                **images("__MACOSX/a.png", ".cache/a.png"),
                "__MACOSX/._a.png": "x",
                "._a.png": "x",
                "Thumbs.db": "x",
                ".git/a.json": coco(["c.png"]),
            },
            ab,
            "coco",
        ),
        Habit(
            "coco: a training run in it",
            {
                **flat,
                "runs/x/config.yaml": "data: {}",
                "runs/x/log.jsonl": "",
                "runs/x/data/train.json": coco(["c.png"]),
            },
            ab,
            "coco",
            said="results of a training",
        ),
    ]


def compressed(runs: Sequence[int]) -> str:
    """COCO's compression of run lengths, from its definition."""
    text = ""
    for place, run in enumerate(runs):
        left = run - runs[place - 2] if place > 2 else run
        while True:
            bits, left = left & 0x1F, left >> 5
            more = left != (-1 if bits & 0x10 else 0)
            text += chr(bits + (0x20 if more else 0) + 48)
            if not more:
                break
    return text


HABITS = [*_coco()]
