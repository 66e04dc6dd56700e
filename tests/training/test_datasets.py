"""The data sets of a run, in whichever formats they come."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nanogfl.config import Config, SplitConfig
from nanogfl.data.readers.read import load_split
from nanogfl.data.readers.read import load_split as load_coco
from nanogfl.errors import UserError
from nanogfl.training.datasets import load_data, require_labels
from tests.data.any_format import write_named
from tests.data.voc_set import BOX, box, draw_image, thing, write_voc, xml
from tests.data.yolo_set import yolo_copy


def in_other_formats(tiny: Config, root: Path) -> Config:
    """The training set in VOC's format, the validation set in YOLO's."""
    here = Path(tiny.data.root)
    train, val = (load_coco(here / f"{name}.json", here / name) for name in ("train", "val"))
    size = "<size><width>96</width><height>64</height></size>"
    files = {}
    for image in train.images:
        objects = zip(image.labels.tolist(), image.boxes.tolist(), strict=True)
        things = [thing(train.classes[label], box(*corners)) for label, corners in objects]
        files[image.path.stem] = xml(*things, size=size)
    write_voc(root / "voc", files, draw=False)
    for image in train.images:
        (root / "voc/JPEGImages" / image.path.name).write_bytes(image.path.read_bytes())
    yolo_copy(val, root / "yolo")
    voc = SplitConfig("voc/ImageSets/Main/train.txt", "voc/JPEGImages")
    yolo = SplitConfig("yolo/data.yaml", "yolo/images/all")
    return replace(tiny, data=replace(tiny.data, root=str(root), train=voc, val=yolo))


def test_a_run_trains_on_one_format_and_validates_on_another_by_the_classes_names(tiny, tmp_path):
    coco, other = load_data(tiny), load_data(in_other_formats(tiny, tmp_path))
    assert coco.train.classes == ("rectangle", "ellipse")
    assert other.train.classes == other.val.classes == ("ellipse", "rectangle")
    assert other.train.category_ids == other.val.category_ids == (1, 2)
    for ours, theirs in ((other.train, coco.train), (other.val, coco.val)):
        assert [problem.where for problem in ours.problems] in ([], ["classes"])  # other ids, which is said
        by_name = {image.path.name: image for image in ours.images}
        assert len(by_name) == len(theirs.images)
        for image in theirs.images:
            np.testing.assert_allclose(by_name[image.path.name].boxes, image.boxes, atol=1e-4)
            assert by_name[image.path.name].labels.tolist() == (1 - image.labels).tolist()
    assert len(other.train_frames.slot_of) == len(coco.train.images)


def test_a_class_that_the_validation_set_does_not_know_is_an_error(tiny, tmp_path):
    config = in_other_formats(tiny, tmp_path)
    data = tmp_path / "yolo/data.yaml"
    data.write_text(json.dumps({"names": ["rectangle", "oval"]}))
    with pytest.raises(UserError, match="has no class 'ellipse', which the model was trained on"):
        load_data(config)


@pytest.mark.parametrize(("kind", "flag"), [("coco", "iscrowd"), ("voc", "difficult")])
def test_where_every_box_is_a_crowd_region_the_sentence_counts_them(tmp_path, kind, flag):
    inside = f"<difficult>1</difficult>{BOX}"
    files = write_named(kind, tmp_path, ["a.png", "b.png"], annotation={"iscrowd": 1}, inside=inside)
    for name in ("a.png", "b.png"):
        draw_image(files[1] / name)
    with pytest.raises(UserError, match=f"2 boxes are crowd regions .*{flag}"):
        require_labels(load_split(*files), 0.05)
