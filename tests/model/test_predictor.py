"""What the predictor says of its boxes: the distributions are those that the boxes were decoded from."""

import numpy as np
import pytest
import torch

from nanogfl.config import HeadConfig, ModelConfig
from nanogfl.contract.detections import Selection
from nanogfl.contract.input_spec import InputSpec
from nanogfl.contract.preprocess import preprocess
from nanogfl.errors import UserError
from nanogfl.model.detector import build_detector
from nanogfl.model.predictor import Predictor


def lively(head: HeadConfig, resize="stretch") -> Predictor:
    """Untrained: every point is a detection, with distributions of its own."""
    config = ModelConfig(InputSpec(hw=(64, 96), resize=resize), head=head, selection=Selection(score=0.0, keep=30))
    detector = build_detector(config, 2)
    with torch.no_grad():
        for parameter in detector.head.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return Predictor(detector, config, ("a", "b"))


@pytest.fixture(params=[("stretch", 1.0), ("letterbox", 1.0), ("stretch", 0.5)], ids=str)
def predictor(request):
    resize, bin_width = request.param
    return lively(HeadConfig(bin_width=bin_width), resize)


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 256, (150, 90, 3), dtype=np.uint8)


def test_explaining_finds_the_same_and_adds_the_sides(predictor, frame):
    plain, explained = predictor(frame), predictor.explain(frame)
    assert len(plain) > 5
    assert plain.sides is None
    for name in ("boxes", "scores", "labels", "spread"):
        assert np.array_equal(getattr(plain, name), getattr(explained, name))
    assert explained.sides.probabilities.shape == (len(plain), 4, predictor.config.head.reg_max + 1)
    assert explained.sides.probabilities.sum(axis=-1) == pytest.approx(1, abs=1e-5)


def test_the_expectation_of_the_probabilities_is_the_box_before_it_is_clipped(predictor, frame):
    """sum_i p_i (origin + step i), one side at a time in double precision, against decode in float32."""
    found = predictor.explain(frame)
    image, placement = preprocess(frame, predictor.config.input)
    raw = predictor.raw(image)
    to_source = [placement.scale_x, placement.scale_y] * 2
    for row in range(len(found)):
        points = np.flatnonzero((np.abs(raw.scores - found.scores[row]) < 1e-7).any(axis=1))
        assert len(points) == 1
        for side in range(4):
            places = found.sides.origin[row, side] + found.sides.step[row, side] * np.arange(8.0)
            mean = float((found.sides.probabilities[row, side] * places).sum())
            deviation = float(np.sqrt((found.sides.probabilities[row, side] * (places - mean) ** 2).sum()))
            assert mean == pytest.approx(raw.boxes[points[0], side] / to_source[side], abs=1e-2)
            assert deviation == pytest.approx(found.spread[row, side], abs=1e-2)


@pytest.mark.parametrize("head", [HeadConfig(quality="iou"), HeadConfig(dgqp=True)], ids=["iou", "DGQP"])
def test_a_detections_score_is_class_times_quality(head, frame):
    predictor = lively(head)
    image, _ = preprocess(frame, predictor.config.input)
    with torch.no_grad():
        found = predictor.detector.eval()(torch.from_numpy(image[None]))
    classes, quality = (x.double().sigmoid().numpy()[0] for x in (found.cls_logits, found.quality_logits))
    assert quality.std() > 0.01
    np.testing.assert_allclose(predictor.raw(image).scores, classes * quality[:, None], rtol=1e-5)


def test_boxes_without_spread_are_detected_and_not_explained(frame):
    predictor = lively(HeadConfig(box="dirac"))
    found = predictor(frame)
    assert len(found) > 5
    assert found.spread is None
    assert predictor.raw(np.zeros((64, 96, 3), np.uint8)).spread is None
    with pytest.raises(UserError) as raised:
        predictor.explain(frame)
    assert str(raised.value) == (
        "the model's boxes have no distributions (model.head.box dirac): expected one trained with general+dfl"
    )


def test_a_gaussian_box_has_a_spread_and_no_distributions(frame):
    predictor = lively(HeadConfig(box="gaussian"))
    assert (predictor(frame).spread > 0).all()
    with pytest.raises(UserError, match="box gaussian"):
        predictor.explain(frame)
