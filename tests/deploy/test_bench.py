"""bench: what it says, not how fast this machine is."""

import json

import numpy as np
import pytest

from nanogfl_deploy.bench import as_json, machine, measure_costs, table, textured_frame


def test_the_frame_is_the_same_everywhere_and_has_texture():
    frame = textured_frame()
    assert (frame.shape, frame.dtype) == ((720, 1280, 3), np.uint8)
    assert np.array_equal(frame, textured_frame())
    assert frame.astype(float).std() > 30
    assert np.abs(np.diff(frame.astype(int), axis=1)).mean() > 3


def test_every_model_is_timed_with_every_number_of_threads(blank_path):
    costs = measure_costs([blank_path, blank_path], [1, 2], textured_frame(90, 160), rounds=3)
    assert [cost.threads for cost in costs] == [1, 2, 1, 2]
    for cost in costs:
        assert cost.file_bytes == blank_path.stat().st_size
        assert cost.open_ms > 0
        for timing in (cost.pre, cost.run, cost.post, cost.total):
            assert timing.rounds == 3
            assert 0 < timing.min <= timing.p50 <= timing.p95
        assert cost.total.min > cost.run.min / 2  # the whole contains the model


def test_the_machine_is_named():
    about = machine()
    assert about["cpu"]
    assert about["cores"] >= 1
    assert about["onnxruntime"].count(".") == 2


def test_table_and_json_hold_the_same_figures(blank_path):
    costs = measure_costs([blank_path], [1], textured_frame(90, 160), rounds=2)
    text = table(costs, (90, 160), "generated")
    assert "160x90" in text
    assert machine()["cpu"] in text
    assert f"{costs[0].total.p50:9.2f}" in text
    content = json.loads(json.dumps(as_json(costs, (90, 160), "generated")))
    assert content["costs"][0]["total"]["p50"] == pytest.approx(costs[0].total.p50)
    assert content["frame"] == {"name": "generated", "height": 90, "width": 160}
