"""Every representation of box and quality passes the gate, in every format, and says what spread it has."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from nanogfl.config import BackboneConfig, Config, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.model.predictor import load_predictor
from nanogfl_deploy.runtime import Detector as DeviceDetector
from nanogfl_export.export import export_checkpoint
from nanogfl_export.gate import parity
from nanogfl_export.onnx_file import RAW_OPERATORS
from tests.lively import enliven
from tests.representations import DGQP, PER_LEVEL, RETINA, matching_loss

from .conftest import HW

HEADS = {
    **{name: PER_LEVEL[name] for name in ("dirac, none", "gaussian, iou", "general+dfl, centerness", "dirac, joint")},
    **DGQP,
    "RetinaNet": RETINA,
}
CLASSES = ("a", "b", "c")


def weights(config: Config) -> dict[str, torch.Tensor]:
    return enliven(build_detector(config.model, len(CLASSES))).state_dict()


@pytest.fixture(scope="module")
def checkpoint(request, tmp_path_factory):
    head = HEADS[request.param]
    backbone, neck = BackboneConfig("0.5x"), NeckConfig(channels=16)
    if head.kind == "shared":
        backbone, neck = BackboneConfig(kind="resnet18"), NeckConfig("fpn", 16, extra_level=False, p6_from="c5")
    model = ModelConfig(InputSpec(HW), backbone=backbone, neck=neck, head=head)
    config = Config(model=model, loss=matching_loss(head))
    path = tmp_path_factory.mktemp("representation") / "some.pt"
    save_checkpoint(path, Checkpoint(config, CLASSES, (1, 2, 3), weights(config)))
    return path, head


def run_export(path, output, frames, **options):
    return export_checkpoint(path, output, frames=frames, frames_origin="drawn", open_device=DeviceDetector, **options)


def cases() -> list:
    """Every head rewritten and raw; two of them in every way, the others so in make test-all."""
    ways = {"rewritten": {}, "raw": {"output_format": "raw"}, "plain": {"rewrite": False}, "any batch": {"batch": None}}
    usual = {(name, way) for name in HEADS for way in ("rewritten", "raw")}
    usual |= {(name, way) for name in ("gaussian, iou", "RetinaNet") for way in ways}
    return [
        pytest.param(name, ways[way], id=f"{name}, {way}", marks=() if (name, way) in usual else pytest.mark.exhaustive)
        for name in HEADS
        for way in ways
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("checkpoint", "options"), cases(), indirect=["checkpoint"])
def test_the_file_agrees_with_pytorch_and_says_its_spread(checkpoint, frames, tmp_path, options):
    path, head = checkpoint
    exported = run_export(path, tmp_path / "some.onnx", frames, **options)
    found = exported.parity
    assert found.matched >= 0.98 * found.detections > 20
    assert 0 < found.box_px < 0.05
    assert exported.card.has_spread == head.has_spread == (found.spread_px is not None)
    assert ("spread" in str(found)) == head.has_spread
    detections = DeviceDetector(exported.path)(frames[0][1])
    ours = load_predictor(path)(frames[0][1])
    if head.has_spread:
        np.testing.assert_allclose(detections.spread[:5], ours.spread[:5], atol=0.05)
        assert (detections.spread > 0).all()
    else:
        assert detections.spread is None
        assert ours.spread is None
    if exported.card.format == "raw":
        assert {node.op_type for node in onnx.load_model(exported.path).graph.node} <= RAW_OPERATORS


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", HEADS, indirect=True)
def test_distributions_are_delivered_where_the_boxes_have_them(checkpoint, frames, tmp_path):
    path, head = checkpoint
    if not head.bins:
        with pytest.raises(UserError, match=rf"boxes without distributions \(model.head.box {head.box}\)"):
            run_export(path, tmp_path / "some.onnx", frames, distributions=True)
        with pytest.raises(UserError, match=f"no distributions .*{head.box}"):
            load_predictor(path).explain(frames[0][1])
        assert list(tmp_path.iterdir()) == []
        return
    for rewrite in (True, False):
        exported = run_export(path, tmp_path / "some.onnx", frames, distributions=True, rewrite=rewrite)
        found = DeviceDetector(exported.path)(frames[0][1])
        # the boxes and their spread, from the distributions alone: bin_width is in the points' third number
        inside = np.clip(found.sides.expectation(), 0, np.tile(frames[0][1].shape[1::-1], 2))
        np.testing.assert_allclose(inside, found.boxes, atol=0.05)
        np.testing.assert_allclose(found.sides.deviation(), found.spread, atol=0.05)
        ours = load_predictor(path).explain(frames[0][1])
        np.testing.assert_allclose(ours.sides.expectation()[:5], found.sides.expectation()[:5], atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gaussian, iou", "RetinaNet"])
def test_the_gate_refuses_a_wrong_quality_and_wrong_anchors(name, frames, tmp_path, monkeypatch):
    head = HEADS[name]
    backbone, neck = BackboneConfig("0.5x"), NeckConfig(channels=16)
    if name == "RetinaNet":
        backbone, neck = BackboneConfig(kind="resnet18"), NeckConfig("fpn", 16, extra_level=False)
    config = Config(model=ModelConfig(InputSpec(HW), backbone=backbone, neck=neck, head=head), loss=matching_loss(head))
    path = tmp_path / "some.pt"
    save_checkpoint(path, Checkpoint(config, CLASSES, (1, 2, 3), weights(config)))
    right = parity.Predictor.raw

    def wrong(self, image):
        """PyTorch's side without the quality, or with anchors that are turned."""
        grid = self.detector.grid
        if name == "RetinaNet":
            self.detector.grid_anchors = grid.anchors.flip(1).contiguous()
            found = right(self, image)
            self.detector.grid_anchors = grid.anchors
            return found
        found = right(self, image)
        return found._replace(scores=np.sqrt(found.scores))

    monkeypatch.setattr(parity.Predictor, "raw", wrong)
    with pytest.raises(UserError, match="does not agree with PyTorch"):
        run_export(path, tmp_path / "wrong.onnx", frames)
    assert [p.name for p in tmp_path.iterdir()] == ["some.pt"]


def test_a_detectors_outputs_are_named_in_the_order_of_its_predictions():
    from nanogfl.model.detector import Predictions
    from nanogfl_export.graph.modules import decoded_rows, network_outputs

    assert network_outputs(PER_LEVEL["dirac, iou"]) == list(Predictions._fields)
    assert network_outputs(PER_LEVEL["dirac, joint"]) == list(Predictions._fields[:2])
    assert list(decoded_rows(PER_LEVEL["gaussian, none"])) == ["boxes", "spread"]
    assert list(decoded_rows(replace(RETINA))) == ["boxes"]
