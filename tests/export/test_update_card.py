"""Changing the card of a written file, as `nanogfl bench --card` does."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from nanogfl.errors import UserError
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
