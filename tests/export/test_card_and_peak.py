"""What needs the package onnx for `nanogfl bench`: figures in a card, and the file with the CPU's limit."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from nanogfl.errors import UserError
from nanogfl_deploy.bench.cpu_limit import CHANNELS, LAYERS, PEAK_FILE
from nanogfl_deploy.runtime import Detector
from nanogfl_export import onnx_file
from nanogfl_export.onnx_file import update_card

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model_path(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes((ROOT / "tests/golden/blank_detections.onnx").read_bytes())
    return path


def test_the_card_changes_and_the_graph_does_not(model_path):
    before, detector = onnx.load_model(model_path), Detector(model_path, 1)
    update_card(model_path, bench={"date": "2026-03-04", "what": "Größe 信号"})
    after, updated = onnx.load_model(model_path), Detector(model_path, 1)
    assert updated.card.bench == {"date": "2026-03-04", "what": "Größe 信号"}
    assert updated.card.classes == detector.card.classes
    frame = np.full((64, 96, 3), (90, 120, 250), np.uint8)
    assert np.array_equal(updated(frame).boxes, detector(frame).boxes)
    del before.metadata_props[:], after.metadata_props[:]
    assert before.SerializeToString(deterministic=True) == after.SerializeToString(deterministic=True)
    assert [path.name for path in model_path.parent.iterdir()] == ["model.onnx"]


def test_other_metadata_stays_and_a_second_update_replaces_the_first(model_path):
    model = onnx.load_model(model_path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "author", "somebody else"
    onnx.save_model(model, model_path)
    for value in (1, 2):
        update_card(model_path, bench={"value": value})
    entries = {entry.key: entry.value for entry in onnx.load_model(model_path).metadata_props}
    assert sorted(entries) == ["author", "nanogfl"]
    assert Detector(model_path, 1).card.bench == {"value": 2}


def test_a_copy_that_differs_is_not_kept(model_path, monkeypatch):
    content = model_path.read_bytes()
    save = onnx.save_model

    def lossy(model, path, **options):
        broken = onnx.ModelProto()
        broken.CopyFrom(model)
        broken.graph.initializer[0].name = "lost"
        save(broken, path, **options)

    monkeypatch.setattr(onnx_file.onnx, "save_model", lossy)
    with pytest.raises(UserError, match="does not read back"):
        update_card(model_path, bench={"a": 1})
    assert model_path.read_bytes() == content
    assert [path.name for path in model_path.parent.iterdir()] == ["model.onnx"]


def test_a_file_that_is_not_ours_or_not_there_is_refused(model_path):
    with pytest.raises(UserError, match="cannot be read"):
        update_card(model_path.with_name("nothing.onnx"), bench={})
    model = onnx.load_model(model_path)
    del model.metadata_props[:]
    onnx.save_model(model, model_path)
    with pytest.raises(UserError):
        update_card(model_path, bench={})


def test_with_macs_in_the_card_there_is_a_share_of_the_limit(model_path):
    from nanogfl_deploy.bench.run import measure_costs, textured_frame

    update_card(model_path, source={"macs": 1000})
    (cost,) = measure_costs([model_path], [1], textured_frame(90, 160), rounds=2)
    assert cost.macs == 1000
    assert cost.share == pytest.approx(1000 / (cost.run.p50 / 1e3) / cost.limit)


def test_the_peak_file_is_what_its_script_writes():
    spec = importlib.util.spec_from_file_location("make_peak_model", ROOT / "benchmarks" / "make_peak_model.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.peak_model() == PEAK_FILE.read_bytes()
    assert PEAK_FILE.stat().st_size < 2048


def test_the_peak_file_is_a_chain_of_1x1_convolutions_of_the_size_that_bench_counts():
    model = onnx.load_model(PEAK_FILE)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == LAYERS
    assert {node.op_type for node in model.graph.node} == {"Conv", "ConstantOfShape"}
    (weight_shape,) = (onnx.numpy_helper.to_array(i) for i in model.graph.initializer if i.name == "weight_shape")
    assert weight_shape.tolist() == [CHANNELS, CHANNELS, 1, 1]
