"""The quality of an image's detections, by hand."""

import pytest

from nanogfl.evaluation.image_quality import image_quality
from tests.evaluation.test_coco_ap import A, B, detections, record, truth_as_detections

HALF = [10, 20, 60, 120]  # half of A: IoU .5


def test_perfect_detections_give_1_and_nothing_to_see_none():
    image = record(1, [A, B], [0, 1])
    assert image_quality(image, truth_as_detections([image])[0]) == 1
    assert image_quality(record(1), detections()) is None


@pytest.mark.parametrize(
    ("found", "quality"),
    [
        (detections(), 0),
        (detections([A], [0.9], [1]), 0),  # another class
        (detections([HALF], [0.9], [0]), 0.5 / 1.5),  # 1 match, 1 missed
        (detections([A, B, B], [0.9, 0.8, 0.7], [0, 1, 1]), 2 / 2.5),  # an object is found once
        (detections([[0, 0, 9, 9]], [0.9], [0]), 0),
    ],
)
def test_the_iou_of_matches_over_matches_and_half_of_all_errors(found, quality):
    assert image_quality(record(1, [A, B], [0, 1]), found) == pytest.approx(quality)


def test_a_detection_in_a_crowd_region_of_its_class_is_not_wrong():
    image = record(1, [A, B], [0, 1], crowd=[True, False])
    assert image_quality(image, detections([HALF, B], [0.9, 0.8], [0, 1])) == 1
    assert image_quality(image, detections([HALF, B], [0.9, 0.8], [1, 1])) == pytest.approx(1 / 1.5)
