"""AP against pycocotools run directly on the original file, and against cases that are known by hand."""

import contextlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nanogfl.contract.detections import Detections
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.data.readers.read import load_split as load_coco
from nanogfl.errors import UserError
from nanogfl.evaluation.coco_ap import evaluate, format_report, score
from tests.thinned import thinned

SHARED = Path(__file__).parents[2] / "../shared/data"


def record(number: int, boxes=(), labels=(), crowd=None) -> ImageRecord:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    flags = np.zeros(len(boxes), np.bool_) if crowd is None else np.array(crowd, np.bool_)
    return ImageRecord(number, Path(f"{number}.png"), (240, 320), boxes, np.array(labels, np.int64), areas, flags)


def dataset(*images: ImageRecord, classes=("a", "b", "c"), ids=(3, 17, 90)) -> DataSet:
    return DataSet("test", classes, ids, images, ())


def detections(boxes=(), scores=(), labels=()) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )


def truth_as_detections(images) -> list[Detections]:
    return [detections(i.boxes[~i.crowd], np.full((~i.crowd).sum(), 0.9), i.labels[~i.crowd]) for i in images]


A, B = [10, 20, 110, 120], [150, 30, 250, 200]


def test_perfect_detections_give_1():
    data = dataset(record(4, [A, B], [0, 1]), record(9, [A], [2]), record(11))
    report = score(data, truth_as_detections(data.images))
    assert [report.ap, report.ap50, report.ap75, report.ap_large] == pytest.approx([1] * 4)
    assert report.ap_small is None
    assert [(c.name, c.objects) for c in report.classes] == [("a", 1), ("b", 1), ("c", 1)]
    assert [c.ap for c in report.classes] == pytest.approx([1] * 3)
    assert report.images == 3


def test_no_detections_give_0_and_not_none():
    report = score(dataset(record(4, [A, B], [0, 1])), [detections()])
    assert (report.ap, report.ap50) == (0, 0)
    assert [c.ap for c in report.classes] == [0, 0, None]


def test_a_class_without_objects_is_not_available_and_the_table_says_so():
    data = dataset(record(4, [A], [0]))
    report = score(data, [detections([A, B], [0.9, 0.8], [0, 1])])  # a false alarm of the absent class
    assert report.classes[0].ap == pytest.approx(1)
    assert [c.ap for c in report.classes[1:]] == [None, None]
    assert report.ap == pytest.approx(1)  # the mean is over classes that exist
    lines = format_report(report).splitlines()
    assert lines[1].split() == ["a", "1", "1.000", "1.000"]
    assert lines[2].split() == ["b", "0", "n/a", "n/a"]
    assert "small n/a" in lines[-1]
    assert json.loads(json.dumps(report.to_dict()))["classes"][1]["ap"] is None


def test_a_data_set_without_objects_has_no_ap():
    report = score(dataset(record(4)), [detections([A], [0.9], [0])])
    assert (report.ap, report.ap50) == (None, None)
    assert "n/a" in format_report(report)


def test_a_known_precision_recall_curve():
    """Two objects; best first: a false alarm, a hit, a hit. Precision is 2/3 up to recall 1: AP = 2/3."""
    data = dataset(record(4, [A, B], [0, 0]))
    found = detections([[280, 200, 310, 230], A, B], [0.9, 0.8, 0.7], [0, 0, 0])
    report = score(data, [found])
    assert report.ap == pytest.approx(2 / 3)
    # one hit of two, best first: precision 1 at the 51 recall points 0 to .50
    half = score(data, [detections([A], [0.9], [0])])
    assert half.ap50 == pytest.approx(51 / 101)


def test_an_iou_of_six_tenths_counts_at_three_of_ten_thresholds():
    data = dataset(record(4, [[0, 0, 100, 100]], [0]))
    report = score(data, [detections([[0, 0, 62, 100]], [0.9], [0])])  # IoU .62: .50, .55, .60
    assert report.ap == pytest.approx(0.3)
    assert (report.ap50, report.ap75) == (pytest.approx(1), 0)


def test_detections_on_a_crowd_region_are_neither_right_nor_wrong():
    data = dataset(record(4, [A, [150, 0, 320, 240]], [0, 0], crowd=[False, True]))
    report = score(data, [detections([[160, 10, 200, 50], A], [0.95, 0.9], [0, 0])])
    assert report.ap == pytest.approx(1)
    assert report.classes[0].objects == 1


def test_a_right_box_of_the_wrong_class_is_wrong():
    report = score(dataset(record(4, [A], [0]), record(5, [B], [1])), [detections([A], [0.9], [1]), detections()])
    assert [c.ap for c in report.classes][:2] == [0, 0]


def test_classes_keep_their_figures_when_their_ids_do_not_rise():
    """Only class z (id 90) is found; pycocotools sorts by id."""
    data = dataset(record(4, [A, B], [0, 1]), classes=("z", "a"), ids=(90, 3))
    report = score(data, [detections([A], [0.9], [0])])
    assert [(c.name, c.ap) for c in report.classes] == [("z", pytest.approx(1)), ("a", 0)]


def test_more_than_a_hundred_detections_an_image_are_cut_to_the_best():
    noise = np.random.default_rng(0).uniform(0, 200, (150, 2))
    boxes = np.concatenate([np.concatenate([noise, noise + 5], axis=1), [A]])
    scores = np.concatenate([np.full(150, 0.9), [0.1]])
    report = score(dataset(record(4, [A], [0])), [detections(boxes, scores, np.zeros(151))])
    assert report.ap == 0


def direct(file: Path, results: list[dict]) -> np.ndarray:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:6]


@pytest.mark.parametrize("name", thinned(["bccd", "coco_mini"], "coco_mini"))
def test_figures_equal_pycocotools_on_the_original_file(name):
    file = SHARED / name / "val.json"
    if not file.is_file():
        pytest.skip(f"{name} is not in ../shared/data")
    data = load_coco(file, SHARED / name / "val")
    numbers = np.random.default_rng(0)
    found, results = [], []
    for image in data.images:
        kept = ~image.crowd & (numbers.random(len(image.boxes)) < 0.9)
        boxes = image.boxes[kept].astype(np.float64)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes = (boxes + numbers.normal(0, 0.06, boxes.shape) * sides).astype(np.float32)
        wrong = numbers.random(len(boxes)) < 0.1
        labels = np.where(wrong, numbers.integers(0, len(data.classes), len(boxes)), image.labels[kept])
        scores = numbers.random(len(boxes)).astype(np.float32)
        found.append(Detections(boxes, scores, labels))
        for (x1, y1, x2, y2), label, value in zip(boxes.tolist(), labels, scores.tolist(), strict=True):
            entry = {"image_id": image.id, "category_id": data.category_ids[label]}
            results.append({**entry, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": value})
    report = score(data, found)
    figures = (report.ap, report.ap50, report.ap75, report.ap_small, report.ap_medium, report.ap_large)
    expected = direct(file, results)
    assert 0.1 < expected[0] < 0.9
    assert [-1 if value is None else value for value in figures] == pytest.approx(expected.tolist(), abs=1e-9)
    present = [c.ap for c in report.classes if c.ap is not None]
    assert np.mean(present) == pytest.approx(expected[0])
    assert len(present) == sum(c.objects > 0 for c in report.classes)


def test_a_hand_made_file_with_gaps_crowd_and_areas_equals_pycocotools(tmp_path):
    images = [{"id": i, "file_name": f"{i}.png", "width": 320, "height": 240} for i in (3, 40)]
    boxes = [(3, 17, A, 0), (3, 3, B, 0), (40, 17, B, 0), (40, 17, [0, 0, 30, 30], 1)]
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": 900.0 if number == 1 else float((x2 - x1) * (y2 - y1)),  # a mask smaller than its box: "small"
            "iscrowd": crowd,
        }
        for number, (image, category, (x1, y1, x2, y2), crowd) in enumerate(boxes, 1)
    ]
    categories = [{"id": 17, "name": "b"}, {"id": 3, "name": "a"}, {"id": 90, "name": "c"}]
    file = tmp_path / "val.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    for image in images:
        cv2.imwrite(str(tmp_path / image["file_name"]), np.zeros((240, 320, 3), np.uint8))
    data = load_coco(file, tmp_path)
    answers = {
        3: detections([[12, 22, 108, 125], B], [0.8, 0.6], [1, 0]),
        40: detections([[150, 40, 250, 200], [2, 2, 20, 20], A], [0.9, 0.95, 0.3], [1, 1, 0]),
    }
    results = [
        {"image_id": image, "category_id": (3, 17, 90)[label], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": value}
        for image, found in answers.items()
        for (x1, y1, x2, y2), label, value in zip(
            found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True
        )
    ]
    seen = iter(answers.values())
    report = evaluate(lambda frame: next(seen), data)
    figures = (report.ap, report.ap50, report.ap75, report.ap_small, report.ap_medium, report.ap_large)
    assert [-1 if v is None else v for v in figures] == pytest.approx(direct(file, results).tolist(), abs=1e-9)
    assert report.ap_small is not None
    assert report.seconds > 0


def test_evaluate_hands_over_frames_in_the_order_of_the_images_and_can_be_tracked(tmp_path):
    images = []
    for number in (7, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((240, 320, 3), number, np.uint8))
        images.append(ImageRecord(**{**record(number, [A], [0]).__dict__, "path": tmp_path / f"{number}.png"}))
    frames, tracked = [], []

    def detect(frame):
        frames.append(int(frame[0, 0, 0]))
        return detections([A], [0.9], [0])

    def track(records):
        for entry in records:
            tracked.append(entry.id)
            yield entry

    assert evaluate(detect, dataset(*images), track).ap == pytest.approx(1)
    assert frames == tracked == [7, 2]
    images[1].path.unlink()
    with pytest.raises(UserError, match=r"2\.png does not exist"):
        evaluate(detect, dataset(*images))


def test_evaluation_prints_nothing(capsys):
    score(dataset(record(4, [A], [0])), [detections([A], [0.9], [0])])
    assert capsys.readouterr().out == ""
