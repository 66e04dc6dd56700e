"""Files of every kind against PyTorch, end to end: batches, crowds, distributions, raw, without rewrites."""

from dataclasses import asdict, replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nanogfl.contract.preprocess import preprocess
from nanogfl.data.synthetic.dataset import draw_image
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import load_checkpoint, save_checkpoint
from nanogfl.model.predictor import load_predictor
from nanogfl_deploy.runtime import Detector
from nanogfl_export.onnx_file import RAW_OPERATORS

from .conftest import HW, run_export

pytestmark = pytest.mark.slow
BLACK = np.zeros((*HW, 3), np.uint8)


@pytest.fixture(scope="module")
def sparse_path(checkpoint_path, tmp_path_factory):
    """A few detections on drawn pictures, none on the black one."""
    checkpoint = load_checkpoint(checkpoint_path)
    detector = checkpoint.build()
    pictures = np.stack([BLACK, *(draw_image(5, index, HW).image for index in range(7))])
    for norm in (module for module in detector.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.momentum = 0.5  # statistics of these pictures: else answers hardly depend on the picture
    detector.train()
    for _ in range(20):
        detector(torch.from_numpy(pictures))
    with torch.inference_mode():
        best = detector.eval()(torch.from_numpy(BLACK[None])).cls_logits[0].amax(dim=0)
    for output in detector.head.outputs:
        output.bias.data[:3] += np.log(0.04 / 0.96) - best  # the black picture stays below the limit of 0.05
    checkpoint = replace(checkpoint, weights=detector.state_dict())
    path = tmp_path_factory.mktemp("sparse") / "sparse.pt"
    save_checkpoint(path, checkpoint)
    return path


@pytest.fixture(scope="module")
def any_batch(sparse_path, frames, tmp_path_factory):
    output = tmp_path_factory.mktemp("export") / "sparse.onnx"
    return run_export(sparse_path, output, frames, batch=None, distributions=True)


def assert_same(found, expected):
    """Row by row: the same labels; scores to 1e-4, boxes and spread to 0.05 px as the gate allows."""
    assert found.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=0.05)
    np.testing.assert_allclose(found.spread, expected.spread, rtol=0, atol=0.05)


def test_a_batch_whose_middle_picture_is_empty(any_batch, sparse_path, frames):
    predictor, session = load_predictor(sparse_path), onnxruntime.InferenceSession(any_batch.path)
    images = [preprocess(frame, predictor.config.input)[0] for _, frame in frames[:3]]
    images[1] = BLACK
    names = ["boxes", "scores", "labels", "spread"]
    boxes, scores, labels, spread = session.run(names, {"image": np.stack(images)})
    counts = []
    for index, image in enumerate(images):
        expected = predictor.select(predictor.raw(image))
        count = len(expected)
        counts.append(count)
        assert (labels[index] >= 0).sum() == count
        found = type(expected)(
            boxes[index, :count], scores[index, :count], labels[index, :count], spread[index, :count]
        )
        assert_same(found, expected)
        for values in (boxes, scores, spread):
            assert not values[index, count:].any()
    assert counts[1] == 0
    assert min(counts[0], counts[2]) > 10


def test_a_crowd_of_candidates(exported, checkpoint_path, frames):
    predictor, detector = load_predictor(checkpoint_path), Detector(exported.path)
    for _, frame in frames:
        raw = predictor.raw(preprocess(frame, predictor.config.input)[0])
        assert (raw.scores > predictor.config.selection.score).sum() > 500
        assert_same(detector(frame), predictor(frame))


def test_distributions_are_those_of_pytorch(any_batch, sparse_path, frames):
    model = onnx.load_model(any_batch.path)
    assert [value.name for value in model.graph.output] == [
        "boxes", "scores", "labels", "spread", "distributions", "points",
    ]  # fmt: skip
    predictor, detector = load_predictor(sparse_path), Detector(any_batch.path)
    assert detector.card.bins == any_batch.card.bins == 8
    for _, frame in frames[:3]:
        found, expected = detector(frame), predictor.explain(frame)
        assert_same(found, expected)
        np.testing.assert_allclose(found.sides.probabilities, expected.sides.probabilities, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found.sides.origin, expected.sides.origin, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found.sides.step, expected.sides.step, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.sides.deviation(), found.spread, rtol=0, atol=0.01)


def test_distributions_do_not_go_with_raw(checkpoint_path, frames, tmp_path):
    with pytest.raises(UserError, match="distributions belong to detections"):
        run_export(checkpoint_path, tmp_path / "x.onnx", frames, output_format="raw", distributions=True)


def test_a_raw_file_of_any_batch_is_rewritten_and_keeps_to_its_operators(sparse_path, frames, tmp_path):
    exported = run_export(sparse_path, tmp_path / "raw.onnx", frames, output_format="raw", batch=None)
    model = onnx.load_model(exported.path)
    kinds = [node.op_type for node in model.graph.node]
    assert set(kinds) <= RAW_OPERATORS
    assert kinds.index("Conv") < kinds.index("Transpose")
    predictor, detector = load_predictor(sparse_path), Detector(exported.path)
    for _, frame in frames:
        image, _ = preprocess(frame, predictor.config.input)
        ours, theirs = predictor.raw(image), detector.run(image)
        np.testing.assert_allclose(theirs.scores, ours.scores, rtol=0, atol=1e-4)
        np.testing.assert_allclose(theirs.boxes, ours.boxes, rtol=0, atol=0.05)
        np.testing.assert_allclose(theirs.spread, ours.spread, rtol=0, atol=0.05)
        np.testing.assert_allclose(detector(frame).scores, predictor(frame).scores, rtol=0, atol=1e-4)


def test_without_rewrites_the_file_says_and_finds_the_same(exported, checkpoint_path, frames, tmp_path):
    fast, plain = exported, run_export(checkpoint_path, tmp_path / "plain.onnx", frames, rewrite=False)
    cards = [{**asdict(export.card), "parity": None} for export in (fast, plain)]
    assert cards[0] == cards[1]
    models = [onnx.load_model(export.path) for export in (fast, plain)]
    outputs = [[value.SerializeToString() for value in model.graph.output] for model in models]
    assert outputs[0] == outputs[1]
    # `plain` of a rewritten export is what --no-rewrite would have written
    counts = [len(model.graph.node) for model in (fast.plain, plain.model, models[1], models[0])]
    assert counts[0] == counts[1] == counts[2] != counts[3]
    for _, frame in frames:
        assert_same(Detector(fast.path)(frame), Detector(plain.path)(frame))
