"""A committed .onnx, trained by `make quickstart` on the embedded data set: files of earlier versions go on working."""

from pathlib import Path

import numpy as np
import pytest

from nanogfl.contract.detections import Detections
from nanogfl.data.synthetic.dataset import CATEGORY_IDS, CLASSES, FIRST_VAL_INDEX, draw_image, image_hw
from nanogfl_deploy import Detector

GOLDEN = Path(__file__).parents[1] / "golden" / "embedded.onnx"
HW = (240, 320)


@pytest.fixture(scope="module")
def detector():
    return Detector(GOLDEN, threads=1)


def matched(found: Detections, box: tuple[int, ...], label: int) -> bool:
    """Whether a detection of this class overlaps the box by half."""
    for (x1, y1, x2, y2), other in zip(found.boxes, found.labels, strict=True):
        width, height = min(x2, box[2]) - max(x1, box[0]), min(y2, box[3]) - max(y1, box[1])
        union = (x2 - x1) * (y2 - y1) + (box[2] - box[0]) * (box[3] - box[1]) - width * height
        if other == label and width > 0 and height > 0 and width * height >= 0.5 * union:
            return True
    return False


def test_its_card_says_what_it_was_trained_on(detector):
    assert detector.card.classes == CLASSES
    assert detector.card.category_ids == CATEGORY_IDS
    assert detector.card.parity["box_px"] < 0.05
    assert detector.card.input.hw[0] != detector.card.input.hw[1]


def test_it_finds_the_shapes_of_pictures_that_it_has_never_seen(detector):
    hits = objects = false = 0
    for index in range(FIRST_VAL_INDEX + 500, FIRST_VAL_INDEX + 540):
        drawing = draw_image(0, index, image_hw(index, HW))
        found = detector(drawing.image).above(0.4)  # what a client shows
        hits += sum(matched(found, drawn.box, drawn.label) for drawn in drawing.objects)
        objects += len(drawing.objects)
        false += sum(
            not any(matched(found.take(np.array([i])), d.box, d.label) for d in drawing.objects)
            for i in range(len(found))
        )
    assert objects > 120
    assert hits > 0.6 * objects
    assert false < hits


def test_it_finds_next_to_nothing_where_there_is_nothing(detector):
    assert len(detector(np.full((240, 320, 3), 128, np.uint8)).above(0.3)) == 0


def test_boxes_lie_inside_the_frame_and_carry_their_spread(detector):
    found = detector(draw_image(0, FIRST_VAL_INDEX + 501, (200, 330)).image)
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [330, 200, 330, 200]).all()
    assert (found.spread > 0).all()
