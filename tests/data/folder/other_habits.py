"""Tables, LabelMe, CVAT, CreateML; several formats in one folder; options; and folders that are refused."""

import json
from typing import Any

from tests.data.folder.habits import (
    AB,
    PARTS,
    ROBOFLOW,
    TRIO,
    YOLO_AB,
    Content,
    Files,
    Habit,
    coco,
    cvat,
    images,
    labelme,
    labels,
    table,
    xmls,
)
from tests.data.voc_set import SIZE, thing, xml

CORNERS = [[5, 7], [25, 7], [25, 17], [5, 17]]


def _tables() -> list[Habit]:
    def one(name: str, text: Content, said: str = "", classes: tuple[str, ...] = ("cat",)) -> Habit:
        return Habit(f"csv: {name}", {**TRIO, "boxes.csv": text}, {"train": ["a.png", "b.png"]}, "csv", classes, said)

    return [
        Habit(
            "csv: tensorflow's",
            {
                **images("images/train/a.png", "images/test/b.png"),
                "data/train_labels.csv": table("a.png"),
                "data/test_labels.csv": table("b.png"),
            },
            {"train": ["images/train/a.png"], "test": ["images/test/b.png"]},
            "csv",
        ),
        Habit(
            "csv: roboflow's",
            {
                **images("train/a.png", "valid/b.png"),
                "train/_annotations.csv": table("a.png"),
                "valid/_annotations.csv": table("b.png"),
            },
            {"train": ["train/a.png"], "val": ["valid/b.png"]},
            "csv",
        ),
        one("keras-retinanet's", table("./a.png", "b.png", header=False)),
        Habit(
            "csv: keras-retinanet's background and classes",
            {**TRIO, "annotations.csv": table("/x/a.png", header=False) + "\nb.png,,,,,\n", "classes.csv": "cat,0\n"},
            {"train": ["a.png", "b.png*0"]},
            "csv",
        ),
        one(
            "byte order mark, CRLF, semicolons",
            b"\xef\xbb\xbf" + table("a.png", "b.png").replace(",", ";").replace("\n", "\r\n").encode(),
        ),
        one("makesense's", "cat,5,7,20,10,a.png,100,60\ncat,5,7,20,10,b.png,100,60\n"),
        one(
            "centres",
            "img,label,x_center,y_center,width,height\na.png,cat,.15,.2,.2,.166666667\nb.png,cat,.15,.2,.2,.166666667",
            "fractions",
        ),
        one(
            "x y w h", "image_path,label,bbox_x,bbox_y,bbox_width,bbox_height\na.png,cat,5,7,20,10\nb.png,cat,5,7,20,10"
        ),
        one(
            "a list in one cell, no class",
            'image_id,width,height,bbox\na,100,60,"[5.0, 7.0, 20, 10]"\nb,100,60,"[5, 7, 20, 10]"',
            "names no classes",
            ("object",),
        ),
        Habit(
            "csv: open images",
            {
                **TRIO,
                "train-annotations-bbox.csv": "ImageID,Source,LabelName,XMin,XMax,YMin,YMax\n"
                "a,x,/m/01,0.05,0.25,0.116666667,0.283333333\n",
                "class-descriptions-boxable.csv": "/m/01,cat\n/m/02,dog\n",
            },
            {"train": ["a.png"]},
            "csv",
            said="fractions",
        ),
        Habit(
            "csv: a column for the split",
            {
                **TRIO,
                "l.csv": "filename,class,xmin,ymin,xmax,ymax,split\n"
                "a.png,cat,5,7,25,17,TRAIN\nb.png,cat,5,7,25,17,VALIDATION\n",
            },
            {"train": ["a.png"], "val": ["b.png"]},
            "csv",
        ),
        Habit(
            "csv: automl's",
            {
                **TRIO,
                "l.csv": "TRAIN,gs://b/a.png,cat,.05,.116666667,,,.25,.283333333,,\nVALIDATION,gs://b/b.png,cat,.05,.116666667,,,.25,.283333333,,\n",
            },
            {"train": ["a.png"], "val": ["b.png"]},
            "csv",
        ),
        one("bad rows", table("a.png", "b.png") + "\na.png,100,60,cat,x,7,25,17\na.png,100,60,,5,7,25,17", "bad box"),
    ]


def _others() -> list[Habit]:
    def shape(name: str, said: str = "", **more: Any) -> Habit:
        files = {**images("a.png"), "a.json": labelme("a.png", **more)}
        return Habit(f"labelme: {name}", files, {"train": ["a.png"]}, "labelme", said=said)

    def drawn(name: str, inside: str, said: str = "") -> Habit:
        return Habit(
            f"cvat: {name}",
            {**images("a.png"), "annotations.xml": cvat("a.png", inside=inside)},
            {"train": ["a.png"]},
            "cvat",
            said=said,
        )

    box = '<box label="cat" xtl="5" ytl="7" xbr="25" ybr="17"/>'
    return [
        shape("rectangle"),
        shape("polygon", kind="polygon", points=CORNERS),
        shape("four corners", kind="rectangle", points=CORNERS),
        shape("a path of another machine", imagePath="..\\pictures\\a.png", imageData="aGVsbG8="),
        shape("no size", imageHeight=None, imageWidth=None),
        Habit(
            "labelme: lines and points",
            {
                **images("a.png"),
                "a.json": json.dumps(
                    {
                        "imagePath": "a.png",
                        "shapes": [
                            {"label": "cat", "shape_type": "rectangle", "points": [[5, 7], [25, 17]]},
                            {"label": "cat", "shape_type": "line", "points": [[1, 2], [3, 4]]},
                            {"label": None, "points": None},
                            7,
                        ],
                    }
                ),
            },
            {"train": ["a.png"]},
            "labelme",
            said="shape left out: line",
        ),
        Habit(
            "labelme: folders",
            {
                **images("train/img/a.png", "val/img/a.png"),
                "train/ann/a.json": labelme("../img/a.png"),
                "val/ann/a.json": labelme("../img/a.png"),
            },
            {"train": ["train/img/a.png"], "val": ["val/img/a.png"]},
            "labelme",
        ),
        Habit(
            "labelme: the image inside the json", {"a.json": labelme("a.png", imageData="aGVsbG8=")}, "inside the json"
        ),
        Habit(
            "cvat: boxes",
            {**images("images/a.png", "images/b.png"), "annotations.xml": cvat("a.png", "b.png")},
            AB,
            "cvat",
        ),
        Habit(
            "cvat: subsets",
            {
                **images("images/Train/a.png", "images/Validation/b.png"),
                "annotations.xml": cvat("a.png", subset="Train").replace(
                    "</annotations>",
                    cvat("b.png", subset="Validation")[
                        len("<annotations><version>1.1</version><meta><task/></meta>") :
                    ],
                ),
            },
            {"train": ["images/Train/a.png"], "val": ["images/Validation/b.png"]},
            "cvat",
        ),
        drawn("polygon", '<polygon label="cat" points="5,7;25,7;25.0,17;5,17"/>'),
        drawn("ellipse", '<ellipse label="cat" cx="15" cy="12" rx="10" ry="5"/>'),
        drawn("turned box", '<box label="cat" xtl="10" ytl="2" xbr="20" ybr="22" rotation="90"/>', "rotated box"),
        drawn("lines", box + '<polyline label="cat" points="1,2;3,4"/>', "shape left out: polyline"),
        Habit(
            "cvat: entity bomb",
            {**images("a.png"), "annotations.xml": '<!DOCTYPE a [<!ENTITY b "c">]>' + cvat("a.png")},
            "ENTITY",
        ),
        Habit(
            "cvat: tracks of a video",
            {
                **images("a.png"),
                "annotations.xml": '<annotations><track id="0" label="cat"><box frame="0"/></track></annotations>',
            },
            "tracks of a video",
        ),
        Habit(
            "createml",
            {
                **images("train/a.png"),
                "train/_annotations.createml.json": json.dumps(
                    [
                        {
                            "image": "a.png",
                            "annotations": [
                                {"label": "cat", "coordinates": {"x": 15, "y": 12, "width": 20, "height": 10}}
                            ],
                        }
                    ]
                ),
            },
            {"train": ["train/a.png"]},
            "createml",
        ),
    ]


def _several() -> list[Habit]:
    both = {**TRIO, **xmls("a.xml", "b.xml"), "labels.csv": table("a.png", "b.png")}
    ab = {"train": ["a.png", "b.png"]}
    return [
        Habit("several: xml and csv of the same", both, ab, "voc", said="also found: csv"),
        Habit("several: csv is asked for", both, ab, "csv", options={"format": "csv"}),
        Habit(
            "several: the one of most images",
            {**both, **labels("a.txt", "b.txt", "c.txt"), "classes.txt": "cat"},
            {"train": ["a.png", "b.png", "c.png"]},
            "yolo",
            said="also found: VOC",
        ),
        Habit("several: a format that is not there", both, "no COCO json", options={"format": "coco"}),
        Habit(
            "given: val is a folder",
            {**ROBOFLOW, **images("extra/images/d.png"), **labels("extra/labels/d.txt"), "classes.txt": "cat"},
            {"train": PARTS["train"], "val": ["extra/images/d.png"]},
            "yolo",
            said="val is given",
            options={"val": "extra"},
        ),
        Habit(
            "given: val is a list",
            {**YOLO_AB, "classes.txt": "cat", "mine.txt": "b.png\n"},
            {"train": ["images/a.png"], "val": ["images/b.png"]},
            "yolo",
            options={"val": "mine.txt"},
        ),
        Habit(
            "given: train is an annotation file",
            {**TRIO, "x.json": coco(["a.png"]), "y.json": coco(["b.png"])},
            {"train": ["a.png"], "val": ["b.png"]},
            "coco",
            options={"train": "x.json", "val": "y.json"},
        ),
        Habit("given: val is not there", YOLO_AB, "--val nowhere does not exist", options={"val": "nowhere"}),
        Habit(
            "given: classes are a choice",
            {**images("a.png", "b.png"), "a.xml": xml(thing(), thing("dog")), "b.xml": xml(thing("dog"))},
            {"train": ["a.png", "b.png*0"]},
            "voc",
            said="boxes of other classes",
            options={"classes": ["cat"]},
        ),
        Habit("given: classes that are not there", both, "the classes here are cat", options={"classes": ["bird"]}),
    ]


def _refused() -> list[Habit]:
    def no(name: str, sentence: str, files: Files) -> Habit:
        return Habit(f"refused: {name}", files, sentence)

    return [
        no("empty", "has no image (found: no file)", {"empty/.keep": ""}),
        no("images alone", "looked for COCO json, CVAT xml", {**TRIO, "README.md": "cats"}),
        no("folders of classes", "boxes are still needed", images("cat/a.png", "dog/b.png", "bird/c.png")),
        no(
            "images of no part",
            "annotations of 2 images, and none of them is there",
            {"train.json": coco(["a.png", "b.png"])},
        ),
        no("an archive", "an archive: unpack it", {"set.zip": b"PK\3\4"}),
        no("broken json", "not valid JSON", {**TRIO, "train.json": coco(["a.png"])[:-9]}),
        no(
            "supervisely",
            "Supervisely's layout is not read",
            {
                **images("ds/img/a.png"),
                "meta.json": json.dumps({"classes": [], "projectType": "images"}),
                "ds/ann/a.png.json": json.dumps(
                    {"size": {}, "objects": [{"classTitle": "cat", "points": {"exterior": [[5, 7], [25, 17]]}}]}
                ),
            },
        ),
        no(
            "label studio's own",
            "Label Studio's own JSON",
            {**TRIO, "project-1.json": json.dumps([{"id": 1, "data": {"image": "/a.png"}, "annotations": []}])},
        ),
        no("via", "VIA", {**TRIO, "via.json": json.dumps({"a.png1": {"filename": "a.png", "regions": []}})}),
        no(
            "kitti",
            "KITTI's labels",
            {**TRIO, **labels("a.txt", text="Car 0.00 0 -1.57 5.0 7.0 25.0 17.0 1 1 1 1 1 1 1\n")},
        ),
        no("dota", "DOTA's labels", {**TRIO, **labels("a.txt", text="5 7 25 7 25 17 5 17 cat 0\n")}),
        no(
            "via's table",
            "VIA's table",
            {**TRIO, "via.csv": "filename,file_size,region_shape_attributes\na.png,1,{}\n"},
        ),
        no(
            "dlib",
            "dlib's xml",
            {**TRIO, "x.xml": "<dataset><images><image file='a.png'><box top='7'/></image></images></dataset>"},
        ),
        no("an xml of something else", "looked for", {**TRIO, "x.xml": "<settings/>"}),
        no("tables of something else", "looked for", {**TRIO, "x.csv": "name,price\na.png,3\n"}),
        no("visdrone", "VisDrone", {**TRIO, **labels("a.txt", text="5,7,20,10,1,4,0,0\n")}),
        no("archives beside images", "an archive", {**TRIO, "labels.zip": b"PK\3\4"}),
        no("tfrecord", "TFRecord", {**TRIO, "train.tfrecord": b"x"}),
        no("captions", "looked for", {**TRIO, **labels("a.txt", text="a cat on a mat\n")}),
        no(
            "boxes without size",
            "no usable box",
            {
                **images("a.png"),
                "a.xml": xml(
                    thing(inside="<bndbox><xmin>5</xmin><ymin>7</ymin><xmax>5</xmax><ymax>7</ymax></bndbox>"), size=SIZE
                ),
            },
        ),
        no("crowds alone", "crowd regions", {**TRIO, "train.json": coco(["a.png"], box={"iscrowd": 1})}),
        no(
            "coco without categories",
            "'categories'",
            {**TRIO, "train.json": json.dumps({"images": [], "annotations": []})},
        ),
    ]


HABITS = [*_tables(), *_others(), *_several(), *_refused()]
