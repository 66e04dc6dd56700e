from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from nanogfl.contract.detections import Selection
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nanogfl.model.detector import Detector as TorchDetector
from nanogfl.model.predictor import load_predictor
from nanogfl_deploy.runtime import Detector
from nanogfl_export.export import export_checkpoint
from nanogfl_export.graph import modules as graph
from nanogfl_export.graph import trace
from nanogfl_export.graph.join import rename_values
from nanogfl_export.onnx_file import check_file, write_file

from .conftest import HW, lively_detector, run_export, small_config


@pytest.mark.slow
def test_the_file_agrees_with_pytorch_detection_by_detection(exported, checkpoint_path, frames):
    predictor, detector = load_predictor(checkpoint_path), Detector(exported.path)
    total = 0
    for _, frame in frames:
        ours, theirs = predictor(frame), detector(frame)
        total += len(ours)
        assert abs(len(ours) - len(theirs)) <= 1
        shared = min(len(ours), len(theirs))
        np.testing.assert_allclose(ours.scores[:shared], theirs.scores[:shared], atol=1e-4)
    assert total > 50
    assert exported.parity.matched >= 0.98 * exported.parity.detections > 50
    assert 0 < exported.parity.box_px < 0.05
    assert 0 < exported.parity.score < 1e-4


@pytest.mark.slow
def test_the_card_carries_classes_ids_and_the_measured_agreement(exported):
    card = Detector(exported.path).card
    assert card.classes == ("a", "b", "c")
    assert card.category_ids == (2, 5, 9)
    assert card.input.hw == HW
    assert card.input.resize == "stretch"
    assert card.parity["images"] == 6
    assert card.parity["on"] == "drawn pictures"
    assert card.parity["box_px"] == exported.parity.box_px
    assert card.source["parameters"] > 100_000


@pytest.mark.slow
def test_the_written_file_is_single_and_tells_nothing_of_the_machine(exported):
    model = onnx.load_model(exported.path, load_external_data=False)
    assert model.opset_import[0].version >= 18
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert [path.name for path in exported.path.parent.iterdir()] == ["small.onnx"]
    content = exported.path.read_bytes()
    assert b"site-packages" not in content
    assert str(exported.path.parent).encode() not in content
    assert [entry.key for entry in model.metadata_props] == ["nanogfl"]


@pytest.mark.slow
def test_one_class_and_the_other_neck(frames, tmp_path):
    config = small_config("pan")
    path = tmp_path / "one.pt"
    save_checkpoint(path, Checkpoint(config, ("only",), (1,), lively_detector(config, 1).state_dict()))
    exported = run_export(path, tmp_path / "one.onnx", frames)
    assert exported.parity.matched > 0
    assert set(Detector(exported.path)(frames[0][1]).labels) == {0}


# --- the gate ------------------------------------------------------------------------------------------------------


def assert_refuses(checkpoint, frames, folder, sentence):
    target = folder / "wrong.onnx"
    with pytest.raises(UserError, match=sentence):
        run_export(checkpoint, target, frames)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_the_gate_refuses_a_half_cell_shift(checkpoint_path, frames, tmp_path, monkeypatch):
    right = graph.decode_boxes

    def shifted(dist_logits, grid):
        return right(dist_logits, grid._replace(points=grid.points + grid.strides.unsqueeze(-1) / 2))

    monkeypatch.setattr(graph, "decode_boxes", shifted)
    # half a cell is 4 px at stride 8 and 32 at stride 64
    assert_refuses(checkpoint_path, frames, tmp_path, "does not agree with PyTorch .* boxes 32 px")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_gate_refuses_softmax_over_the_wrong_axis(checkpoint_path, frames, tmp_path, monkeypatch):
    def wrong(dist_logits, grid):
        bins = torch.arange(dist_logits.shape[-1], dtype=torch.float32)
        distances = torch.matmul(dist_logits.softmax(dim=-2), bins) * grid.strides.unsqueeze(-1)
        return torch.cat((grid.points - distances[..., :2], grid.points + distances[..., 2:]), dim=-1)

    monkeypatch.setattr(graph, "decode_boxes", wrong)
    assert_refuses(checkpoint_path, frames, tmp_path, "does not agree with PyTorch")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_gate_refuses_swapped_colours(checkpoint_path, frames, tmp_path, monkeypatch):
    right = TorchDetector.normalise
    traced = trace.trace_network

    def swapped(detector, batch):
        with monkeypatch.context() as patch:  # while it is traced: the comparison sees the right one
            patch.setattr(TorchDetector, "normalise", lambda self, image: right(self, image.flip(3)))
            return traced(detector, batch)

    monkeypatch.setattr("nanogfl_export.export.trace_network", swapped)
    assert_refuses(checkpoint_path, frames, tmp_path, "does not agree with PyTorch")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_gate_refuses_swapped_labels_although_all_raw_numbers_agree(checkpoint_path, frames, tmp_path):
    class Mislabelled(Detector):
        def finish(self, outputs, placement):
            found = super().finish(outputs, placement)
            return type(found)(found.boxes, found.scores, (found.labels + 1) % 3, found.spread)

    with pytest.raises(UserError, match=r"(detects differently from|does not agree with) PyTorch"):
        export_checkpoint(
            checkpoint_path, tmp_path / "wrong.onnx", frames=frames, frames_origin="x", open_device=Mislabelled
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_images_or_detections_nothing_is_shown_and_nothing_written(checkpoint_path, frames, tmp_path):
    with pytest.raises(UserError, match="at least one image"):
        run_export(checkpoint_path, tmp_path / "x.onnx", [])
    silent = load_checkpoint(checkpoint_path)
    model = replace(silent.config.model, selection=Selection(score=0.9999))
    save_checkpoint(tmp_path / "silent.pt", replace(silent, config=replace(silent.config, model=model)))
    with pytest.raises(UserError, match=r"finds nothing above 0\.9999"):
        run_export(tmp_path / "silent.pt", tmp_path / "x.onnx", frames)
    assert [path.name for path in tmp_path.iterdir()] == ["silent.pt"]


@pytest.mark.slow
def test_a_failed_export_keeps_the_earlier_file(checkpoint_path, frames, tmp_path, monkeypatch):
    target = tmp_path / "model.onnx"
    target.write_bytes(b"the earlier file")
    monkeypatch.setattr("nanogfl_export.export.trace_network", lambda *_: onnx.ModelProto())
    with pytest.raises(IndexError):
        run_export(checkpoint_path, target, frames)
    assert target.read_bytes() == b"the earlier file"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda model: setattr(model.opset_import[0], "version", 17), "opset 18 or later"),
        (lambda model: setattr(model.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 99), "outputs"),
        (lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 64), "input"),
    ],
)
def test_the_written_file_is_what_is_checked(exported, tmp_path, damage, sentence):
    model = onnx.load_model(exported.path)
    damage(model)
    write_file(model, exported.card, tmp_path / "damaged.onnx")
    with pytest.raises(UserError, match=sentence):
        check_file(tmp_path / "damaged.onnx", exported.card, points=0)


@pytest.mark.slow
def test_a_raw_file_with_a_foreign_operator_is_refused(exported, checkpoint_path, tmp_path):
    model = onnx.load_model(exported.path)
    points = load_predictor(checkpoint_path).detector.grid.points.shape[0]
    for name in ("raw_boxes", "raw_scores", "raw_spread"):  # the raw outputs beside the selection's nodes
        shape = (None, points, 3 if name == "raw_scores" else 4)
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    del model.graph.output[:4]
    rename_values(model.graph, {name: f"selected_{name}" for name in ("boxes", "scores", "spread")})
    rename_values(model.graph, {f"raw_{name}": name for name in ("boxes", "scores", "spread")})
    card = replace(exported.card, format="raw")
    write_file(model, card, tmp_path / "raw.onnx")
    with pytest.raises(UserError, match=r"must do without the operators .*NonMaxSuppression.*TopK"):
        check_file(tmp_path / "raw.onnx", card, points)
