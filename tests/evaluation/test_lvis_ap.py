"""Federated AP against the LVIS API's answers (golden/make_lvis.py), against plain loops, and against what is known."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nanogfl.contract.detections import Detections
from nanogfl.data.dataset import DataSet, Federated, ImageRecord
from nanogfl.data.readers.read import load_split as load_lvis
from nanogfl.evaluation.coco_ap import Report, format_report, score
from nanogfl.evaluation.frequency import by_frequency, frequency_figures
from nanogfl.evaluation.groups import GROUPS
from tests.evaluation.federated_by_hand import federated_by_hand
from tests.evaluation.lvis_cases import Case, draw_case
from tests.shared_data import shared
from tests.thinned import thinned

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/lvis_federated.json").read_text(encoding="utf-8"))
A, B = [10, 20, 110, 120], [150, 30, 250, 200]


def evaluate_case(case: Case, folder: Path) -> Report:
    """Written to a file, read and scored."""
    truth = case["truth"]
    file = folder / "lvis.json"
    file.write_text(json.dumps(truth))
    for image in truth["images"]:
        (folder / image["coco_url"].split("/")[-1]).touch()
    data = load_lvis(file, folder)
    assert data.problems == ()
    label = {category: label for label, category in enumerate(data.category_ids)}
    found = []
    for image in data.images:
        entries = [d for d in case["results"] if d["image_id"] == image.id]
        boxes = np.array([d["bbox"] for d in entries], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([label[d["category_id"]] for d in entries], np.int64)
        found.append(Detections(boxes, np.array([d["score"] for d in entries], np.float32), labels))
    return score(data, found)


def figures(report: Report) -> dict[str, float | None]:
    """By the reference's names."""
    sizes = {f"AP{name[0]}": getattr(report, f"ap_{name}") for name in ("small", "medium", "large")}
    groups = {f"AP{group.name[0]}": group.ap for group in report.groups}
    return {"AP": report.ap, "AP50": report.ap50, "AP75": report.ap75, **sizes, **groups}


def same(found: dict[str, float | None], expected: dict[str, float | None]) -> bool:
    assert found.keys() == expected.keys()
    return all(
        value == expected[name] if None in (value, expected[name]) else abs(value - expected[name]) < 1e-9
        for name, value in found.items()
    )


@pytest.mark.parametrize("number", range(len(GOLDEN)))
def test_figures_are_the_references_own(number, tmp_path):
    case = GOLDEN[number]
    expected = {name: None if value == -1 else value for name, value in case["answer"].items()}
    assert same(figures(evaluate_case(case, tmp_path)), expected)
    assert same(federated_by_hand(case), expected)


def test_the_golden_cases_meet_what_a_federated_evaluation_must_heed():
    met = Counter()
    for case in GOLDEN:
        truth, results = case["truth"], case["results"]
        held = {(a["image_id"], a["category_id"]) for a in truth["annotations"]}
        negative = {(image["id"], i) for image in truth["images"] for i in image["neg_category_ids"]}
        open_ended = {(image["id"], i) for image in truth["images"] for i in image["not_exhaustive_category_ids"]}
        detected = [(d["image_id"], d["category_id"]) for d in results]
        met["not verified"] += any(pair not in held | negative for pair in detected)
        met["false alarm"] += any(pair in negative - open_ended for pair in detected)
        met["not exhaustive"] += any(pair in open_ended & held for pair in detected)
        met["more than 300"] += max(Counter(image for image, _ in detected).values()) > 300
        met["equal scores"] += len({d["score"] for d in results}) < len(results) / 2
        met["empty image"] += len({image for image, _ in held}) < len(truth["images"])
        met["empty box"] += any(d["bbox"][2] == 0 for d in results)
        met["class without objects"] += len({i for _, i in held}) < len(truth["categories"])
        met["class never verified"] += len({i for _, i in held | negative}) < len(truth["categories"])
        met["n/a"] += -1 in case["answer"].values()
    assert min(met.values()) > 0, met


@pytest.mark.parametrize("first", thinned(range(0, 300, 30), 0))
def test_figures_equal_plain_loops_on_random_cases(first, tmp_path):
    for seed in range(first, first + 30):
        case = draw_case(1000 + seed)
        assert same(figures(evaluate_case(case, tmp_path)), federated_by_hand(case)), seed


def record(number: int, boxes=(), labels=()) -> ImageRecord:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    crowd = np.zeros(len(boxes), np.bool_)
    return ImageRecord(number, Path(f"{number}.png"), (240, 320), boxes, np.array(labels, np.int64), areas, crowd)


def dataset(*images: ImageRecord, negative=None, not_exhaustive=None) -> DataSet:
    """Classes a rare, b common, c frequent, d common."""
    of = [
        {image.id: frozenset((given or {}).get(image.id, ())) for image in images}
        for given in (negative, not_exhaustive)
    ]
    federated = Federated(of[0], of[1], ("rare", "common", "frequent", "common"))
    return DataSet("test", tuple("abcd"), (3, 17, 90, 91), images, (), federated)


def detections(boxes=(), scores=(), labels=()) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )


def test_a_false_alarm_counts_only_where_the_class_is_verified():
    """The false alarm has the best score of its class: as one of two it halves the precision."""
    found = [detections([A], [0.5], [0]), detections([B], [0.9], [0])]
    images = record(4, [A], [0]), record(9, [A], [1])
    assert score(dataset(*images), found).classes[0].ap == pytest.approx(1)
    assert score(dataset(*images, negative={9: [0]}), found).classes[0].ap == pytest.approx(0.5)
    assert score(dataset(*images, negative={9: [0]}, not_exhaustive={9: [0]}), found).classes[0].ap == pytest.approx(1)
    assert score(dataset(*images, negative={9: [0]}, not_exhaustive={9: [1], 4: [0]}), found).classes[0].ap < 0.6
    plain = replace(dataset(*images), federated=None)
    assert score(plain, found).classes[0].ap == pytest.approx(0.5)  # COCO: verified everywhere
    assert score(plain, found).groups is None


def test_where_a_class_is_not_exhaustive_hits_still_count_and_misses_too():
    data = dataset(record(4, [A, B], [0, 0]), not_exhaustive={4: [0]})
    report = score(data, [detections([[260, 200, 300, 230], A], [0.9, 0.8], [0, 0])])
    assert report.ap50 == pytest.approx(51 / 101)  # precision 1 up to recall .5


def test_the_three_hundred_best_of_an_image_count_whatever_their_classes():
    """299 of a class that nobody asked about leave room for one."""
    noise = np.tile(np.array([[5, 5, 9, 9]], np.float32), (300, 1))
    image = record(4, [A], [0])
    for others, expected in ((299, 1), (300, 0)):
        boxes, labels = [*noise[:others], A], [2] * others + [0]
        report = score(dataset(image), [detections(boxes, [0.9] * others + [0.3], labels)])
        assert report.ap == pytest.approx(expected)


def test_of_equal_scores_the_three_hundred_that_came_first_count():
    boxes = [A] + [[5, 5, 9, 9]] * 300
    for order, expected in ((slice(None), 1), (slice(None, None, -1), 0)):
        found = detections(boxes[order], [0.5] * 301, ([0] + [2] * 300)[order])
        assert score(dataset(record(4, [A], [0])), [found]).ap == pytest.approx(expected)


def test_more_than_a_hundred_of_one_class_count():
    boxes = [[5, 5, 9, 9]] * 150 + [A]
    report = score(dataset(record(4, [A], [0])), [detections(boxes, np.linspace(0.9, 0.1, 151), [0] * 151)])
    assert report.ap == pytest.approx(1 / 151)


def test_groups_are_those_that_the_file_says():
    data = dataset(record(4, [A, B], [0, 1]), record(5, [B], [3]), record(6), negative={6: [2]})
    report = score(data, [detections([A, B], [0.9, 0.8], [0, 1]), detections(), detections()])
    assert [(g.name, g.ap, g.classes, g.measured) for g in report.groups] == [
        ("rare", pytest.approx(1), 1, 1),
        ("common", pytest.approx(0.5), 2, 2),
        ("frequent", None, 1, 0),
    ]
    assert report.ap == pytest.approx(2 / 3)
    assert [c.ap for c in report.classes] == [pytest.approx(1), pytest.approx(1), None, 0]
    assert [(c.name, c.objects) for c in report.classes] == [("a", 1), ("b", 1), ("c", 0), ("d", 1)]
    by_file = {"ap_rare": pytest.approx(1), "ap_common": pytest.approx(0.5), "ap_frequent": None}
    assert frequency_figures(report, []) == by_file
    assert frequency_figures(report, [500] * 4) == by_file  # whatever was trained on
    assert by_frequency(report, [500] * 4, (10, 100)).groups[2].ap == pytest.approx(2 / 3)
    without = replace(report, groups=None)
    assert frequency_figures(without, [500, 5, 5, 5])["ap_frequent"] == pytest.approx(1)


def test_the_report_says_the_groups_and_how_it_was_measured():
    data = dataset(record(4, [A, B], [0, 1]))
    report = score(data, [detections([A], [0.9], [0])])
    lines = format_report(report).splitlines()
    assert [line.split()[:3] for line in lines[-4:-1]] == [
        ["APr", "1.000", "rare"],
        ["APc", "0.000", "common"],
        ["APf", "n/a", "frequent"],
    ]
    assert lines[-3].endswith("2 classes, 1 of them without objects here")
    assert "at most 300 detections an image" in lines[-1]
    assert json.loads(json.dumps(report.to_dict()))["federated"] == {
        "ap_rare": pytest.approx(1),
        "ap_common": 0,
        "ap_frequent": None,
        "classes": {"rare": 1, "common": 2, "frequent": 1},
        "classes_measured": {"rare": 1, "common": 1, "frequent": 0},
    }
    plain = score(replace(data, federated=None), [detections([A], [0.9], [0])])
    assert "federated" not in plain.to_dict()
    assert "groups" not in plain.to_dict()
    assert "APr" not in format_report(plain)


def test_a_set_without_any_verified_class_has_no_ap():
    report = score(dataset(record(4)), [detections([A], [0.9], [0])])
    assert (report.ap, report.ap50, report.ap75, report.ap_large) == (None,) * 4
    assert [group.ap for group in report.groups] == [None] * 3


def test_an_image_that_was_left_out_later_does_not_disturb_the_others():
    images = record(4, [A], [0]), record(9, [B], [1])
    data = dataset(*images, negative={4: [1], 9: [0]})
    report = score(replace(data, images=images[1:]), [detections([B], [0.9], [1])])
    assert [c.ap for c in report.classes] == [None, pytest.approx(1), None, None]


def test_perfect_detections_of_real_lvis_annotations_give_1_in_every_group(tmp_path):
    file = shared("data/lvis_sample/lvis_val_100.json")
    for image in json.loads(file.read_text(encoding="utf-8"))["images"]:
        (tmp_path / image["file_name"]).touch()
    data = load_lvis(file, tmp_path)
    found = [detections(image.boxes, np.linspace(0.9, 0.5, len(image.boxes)), image.labels) for image in data.images]
    perfect = score(data, found)
    assert [group.name for group in perfect.groups] == list(GROUPS)
    assert [group.ap for group in perfect.groups] == pytest.approx([1] * 3)
    assert (perfect.ap, perfect.ap75, perfect.ap_small) == pytest.approx((1, 1, 1))
    assert sum(entry.objects for entry in perfect.classes) == 977

    # 200 alarms in every image, of classes that it nearly always says nothing about: they cost next to nothing
    numbers = np.random.default_rng(0)
    alarm = [detections([[1, 1, 5, 5]] * 200, [0.95] * 200, numbers.integers(0, 1230, 200)) for _ in data.images]
    mixed = [
        detections(np.concatenate([a.boxes, f.boxes]), [*a.scores, *f.scores], [*a.labels, *f.labels])
        for a, f in zip(alarm, found, strict=True)
    ]
    assert 0.9 < score(data, mixed).ap < 1


def test_federated_evaluation_prints_nothing(capsys):
    score(dataset(record(4, [A], [0])), [detections([A], [0.9], [0])])
    assert capsys.readouterr().out == ""
