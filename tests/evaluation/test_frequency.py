"""AP by class frequency against hand computation, and the counts of training images against brute force."""

import json
from pathlib import Path

import numpy as np
import pytest

from nanogfl.contract.detections import Detections
from nanogfl.data.class_counts import count_in_file, images_per_class
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.data.readers.read import load_split as load_coco
from nanogfl.data.synthetic.dataset import draw_dataset
from nanogfl.errors import UserError
from nanogfl.evaluation.coco_ap import ClassReport, Report, score
from nanogfl.evaluation.frequency import LVIS_LIMITS, by_frequency, format_frequency


def report(*aps: float | None) -> Report:
    classes = tuple(ClassReport(f"c{k}", 0 if ap is None else 1, ap, ap) for k, ap in enumerate(aps))
    return Report(0.5, 0.5, 0.5, None, None, None, 1, 0.0, classes)


def test_groups_are_means_over_their_classes_at_lviss_limits():
    aps = (0.1, 0.3, 0.5, 0.6, 0.9, 0.2)
    images = (10, 0, 11, 100, 101, 5000)
    found = by_frequency(report(*aps), images, LVIS_LIMITS)
    assert found.figures() == pytest.approx({"ap_rare": 0.2, "ap_common": 0.55, "ap_frequent": 0.55})
    assert [(group.classes, group.measured) for group in found.groups] == [(2, 2)] * 3


def test_a_class_without_objects_in_the_evaluated_set_counts_in_its_group_but_not_in_its_mean():
    found = by_frequency(report(0.4, None, 0.1, None), (3, 3, 50, 500), LVIS_LIMITS)
    assert found.figures() == {"ap_rare": 0.4, "ap_common": 0.1, "ap_frequent": None}
    assert [(group.classes, group.measured) for group in found.groups] == [(2, 1), (1, 1), (1, 0)]
    lines = format_frequency(found).splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["APr", "0.400", "rare"],
        ["APc", "0.100", "common"],
        ["APf", "n/a", "frequent"],
    ]
    assert "at most 10 training images: 2 classes, 1 of them without objects here" in lines[0]
    assert lines[1].endswith("11 to 100 training images: 1 classes")
    assert json.loads(json.dumps(found.to_dict())) == {
        "ap_rare": 0.4,
        "ap_common": 0.1,
        "ap_frequent": None,
        "limits": [10, 100],
        "classes": {"rare": 2, "common": 1, "frequent": 1},
        "classes_measured": {"rare": 1, "common": 1, "frequent": 0},
        "train_images": [3, 3, 50, 500],
    }


def test_the_limits_can_be_others_and_must_rise():
    found = by_frequency(report(0.2, 0.4, 0.6), (1, 2, 3), (1, 2))
    assert found.figures() == {"ap_rare": 0.2, "ap_common": 0.4, "ap_frequent": 0.6}
    for limits in ((2, 2), (5, 1), (-1, 3)):
        with pytest.raises(UserError, match="must rise"):
            by_frequency(report(0.2), (1,), limits)


def test_of_detections_whose_ap_is_known():
    """Rare class found at recall .5 (precision 1 at 51 of 101 points), frequent class wholly, common class never."""
    boxes = np.array([[10, 20, 110, 120], [150, 30, 250, 200], [5, 130, 80, 220], [200, 5, 300, 25]], np.float32)
    labels = np.array([0, 0, 1, 2])
    image = ImageRecord(7, Path("7.png"), (240, 320), boxes, labels, np.full(4, 9e3, np.float32), np.zeros(4, np.bool_))
    data = DataSet("test", ("rarely", "often", "sometimes"), (2, 5, 9), (image,), ())
    detections = Detections(boxes[[0, 2]], np.array([0.9, 0.8], np.float32), labels[[0, 2]])
    found = by_frequency(score(data, [detections]), (4, 300, 20), LVIS_LIMITS)
    assert found.figures() == pytest.approx({"ap_rare": 51 / 101, "ap_common": 0, "ap_frequent": 1})


def test_counts_of_images_by_brute_force_on_a_drawn_tail_with_a_crowd_region(tmp_path):
    draw_dataset(tmp_path, train=40, val=2, hw=(96, 128), tail=20)
    file = tmp_path / "train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["iscrowd"] = 1
    file.write_text(json.dumps(content))
    data = load_coco(file, tmp_path / "train")
    expected = [
        sum(any(label == k and not crowd for label, crowd in zip(i.labels, i.crowd, strict=True)) for i in data.images)
        for k in range(24)
    ]
    assert expected[0] > 10 > expected[-1]
    assert sum(expected) < len(content["annotations"])  # two of a class in an image count once
    assert images_per_class(data).tolist() == expected
    (tmp_path / "train").rename(tmp_path / "gone")  # the images are not needed
    assert count_in_file(file, data.classes, data.category_ids).counts.tolist() == expected
    chosen = [5, 0, 9]  # the model's classes decide which, and in which order
    part = count_in_file(file, tuple(data.classes[k] for k in chosen), tuple(data.category_ids[k] for k in chosen))
    assert part.counts.tolist() == [expected[k] for k in chosen]


def test_a_data_set_without_objects_holds_no_class():
    empty = ImageRecord(1, Path("1.png"), (9, 9), np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
                        np.zeros(0, np.float32), np.zeros(0, np.bool_))  # fmt: skip
    assert images_per_class(DataSet("none", ("a", "b"), (1, 2), (empty,), ())).tolist() == [0, 0]


def test_another_sets_file_is_refused(tmp_path):
    draw_dataset(tmp_path, train=2, val=1, hw=(96, 128))
    with pytest.raises(UserError, match=r"no class 'cat'.* its classes are disc"):
        count_in_file(tmp_path / "train.json", ("cat",), (1,))
    counts, notes = count_in_file(tmp_path / "train.json", ("ring", "disc"), (1, 4))  # matched by name, and said
    assert counts.tolist() == count_in_file(tmp_path / "train.json", ("ring", "disc"), (5, 1)).counts.tolist()
    assert "disc is 1 here, 4 in the model" in notes[0].reason
    with pytest.raises(UserError, match="do not exist"):
        count_in_file(tmp_path / "none.json", ("disc",), (1,))
