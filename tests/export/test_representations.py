"""Every representation of box and quality passes the gate, in every format, and says what spread it has."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from nanogfl.config import BackboneConfig, Config, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.predictor import Predictor, load_predictor
from nanogfl_deploy.runtime import Detector as DeviceDetector
from nanogfl_export.onnx_file import RAW_OPERATORS
from tests.representations import DGQP, PER_LEVEL, RETINA, matching_loss

from .conftest import HW, enlivened, run_export

HEADS = {
    **{name: PER_LEVEL[name] for name in ("dirac, none", "gaussian, iou", "general+dfl, centerness", "dirac, joint")},
    **DGQP,
    "RetinaNet": RETINA,
}
CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def checkpoint(request, tmp_path_factory):
    head = HEADS[request.param]
    backbone, neck = BackboneConfig("0.5x"), NeckConfig(channels=16)
    if head.kind == "shared":
        backbone, neck = BackboneConfig(kind="resnet18"), NeckConfig("fpn", 16, extra_level=False, p6_from="c5")
    model = ModelConfig(InputSpec(HW), backbone=backbone, neck=neck, head=head)
    config = Config(model=model, loss=matching_loss(head))
    path = tmp_path_factory.mktemp("representation") / "some.pt"
    save_checkpoint(path, Checkpoint(config, CLASSES, (1, 2, 3), enlivened(model).state_dict()))
    return path, head


WAYS = {"rewritten": {}, "raw": {"output_format": "raw"}, "plain": {"rewrite": False}, "any batch": {"batch": None}}
USUAL = {(name, "rewritten") for name in HEADS} | {(name, "raw") for name in ("gaussian, iou", "RetinaNet")}
USUAL |= {("general+dfl, DGQP", "raw"), ("general+dfl, DGQP", "plain"), ("RetinaNet", "plain")}
USUAL -= {("dirac, joint", "rewritten"), ("general, DGQP", "rewritten")}  # like others: a trace takes seconds
CASES = [
    pytest.param(name, WAYS[way], id=f"{name}, {way}", marks=() if (name, way) in USUAL else pytest.mark.exhaustive)
    for name in HEADS
    for way in WAYS
]


@pytest.mark.slow
@pytest.mark.parametrize(("checkpoint", "options"), CASES, indirect=["checkpoint"])
def test_the_file_agrees_with_pytorch_and_says_its_spread(checkpoint, frames, tmp_path, options):
    """With the distributions wherever the boxes have them and the format delivers them."""
    path, head = checkpoint
    delivered = bool(head.bins) and "output_format" not in options
    exported = run_export(path, tmp_path / "some.onnx", frames, distributions=delivered, **options)
    parity = exported.parity
    assert parity.matched >= 0.98 * parity.detections > 20
    assert 0 < parity.box_px < 0.05
    assert exported.card.has_spread == head.has_spread == (parity.spread_px is not None)
    assert ("spread" in str(parity)) == head.has_spread
    found = DeviceDetector(exported.path)(frames[0][1])
    ours = load_predictor(path)(frames[0][1])
    if head.has_spread:
        np.testing.assert_allclose(found.spread[:5], ours.spread[:5], atol=0.05)
        assert (found.spread > 0).all()
    else:
        assert found.spread is None
        assert ours.spread is None
    if exported.card.format == "raw":
        assert {node.op_type for node in onnx.load_model(exported.path).graph.node} <= RAW_OPERATORS
    assert (found.sides is not None) == delivered
    if delivered:
        # the boxes and their spread, from the distributions alone: bin_width is in the points' third number
        inside = np.clip(found.sides.expectation(), 0, np.tile(frames[0][1].shape[1::-1], 2))
        np.testing.assert_allclose(inside, found.boxes, atol=0.05)
        np.testing.assert_allclose(found.sides.deviation(), found.spread, atol=0.05)
        explained = load_predictor(path).explain(frames[0][1])
        np.testing.assert_allclose(explained.sides.expectation()[:5], found.sides.expectation()[:5], atol=0.05)


@pytest.mark.parametrize("checkpoint", [name for name in HEADS if not HEADS[name].bins], indirect=True)
def test_distributions_are_refused_where_the_boxes_have_none(checkpoint, frames, tmp_path):
    path, head = checkpoint
    with pytest.raises(UserError, match=rf"model.head.box {head.box}"):
        run_export(path, tmp_path / "some.onnx", frames, distributions=True)
    with pytest.raises(UserError, match=f"no distributions .*{head.box}"):
        load_predictor(path).explain(frames[0][1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["gaussian, iou", "RetinaNet"], indirect=True)
def test_the_gate_refuses_a_wrong_quality_and_wrong_anchors(checkpoint, frames, tmp_path, monkeypatch):
    path, head = checkpoint
    right = Predictor.raw

    def wrong(self, image):
        """PyTorch's side without the quality, or with anchors that are turned."""
        grid = self.detector.grid
        if head is RETINA:
            self.detector.grid_anchors = grid.anchors.flip(1).contiguous()
            found = right(self, image)
            self.detector.grid_anchors = grid.anchors
            return found
        found = right(self, image)
        return found._replace(scores=np.sqrt(found.scores))

    monkeypatch.setattr(Predictor, "raw", wrong)
    with pytest.raises(UserError, match="does not agree with PyTorch"):
        run_export(path, tmp_path / "wrong.onnx", frames)
    assert list(tmp_path.iterdir()) == []


def test_a_detectors_outputs_are_named_in_the_order_of_its_predictions():
    from nanogfl.model.detector import Predictions
    from nanogfl_export.graph.modules import decoded_rows, network_outputs

    assert network_outputs(PER_LEVEL["dirac, iou"]) == list(Predictions._fields)
    assert network_outputs(PER_LEVEL["dirac, joint"]) == list(Predictions._fields[:2])
    assert list(decoded_rows(PER_LEVEL["gaussian, none"])) == ["boxes", "spread"]
    assert list(decoded_rows(replace(RETINA))) == ["boxes"]
