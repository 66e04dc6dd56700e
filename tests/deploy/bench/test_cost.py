"""What a bench measures, not how fast this machine is."""

import numpy as np

from nanogfl.machine.timing import summarise
from nanogfl_deploy.bench import cost as module
from nanogfl_deploy.bench.cost import measure_costs, textured_frame


def test_the_frame_is_the_same_everywhere_and_has_texture():
    frame = textured_frame()
    assert (frame.shape, frame.dtype) == ((720, 1280, 3), np.uint8)
    assert np.array_equal(frame, textured_frame())
    assert frame.astype(float).std() > 30
    assert np.abs(np.diff(frame.astype(int), axis=1)).mean() > 3
    for hw in [(1, 1), (39, 500)]:
        assert textured_frame(*hw).shape == (*hw, 3)


def test_every_model_is_timed_with_every_number_of_threads(blank_path):
    costs = measure_costs([blank_path, blank_path], [1, 2], textured_frame(90, 160), rounds=3)
    assert [cost.threads for cost in costs] == [1, 2, 1, 2]
    for cost in costs:
        assert cost.file_bytes == blank_path.stat().st_size
        assert cost.open_ms > 0
        for timing in (cost.pre, cost.run, cost.post, cost.total):
            assert timing.rounds == 3
            assert 0 < timing.min <= timing.p50 <= timing.p95


def test_a_model_is_compared_with_the_first_one_that_has_as_many_threads(blank_path, monkeypatch):
    """The stages' times are made up: 1 and 2 ms for the first model with 1 and 2 threads, 4 and 16 for the second."""

    def made_up(calls, rounds, warmup):
        spent = {"0": 1, "1": 2, "2": 4, "3": 16}
        return {name: summarise([spent[name.split()[0]]] * rounds) for name in calls}

    monkeypatch.setattr(module, "measure", made_up)
    costs = measure_costs([blank_path, blank_path], [1, 2], textured_frame(90, 160), rounds=3)
    assert [cost.total_speedup.p50 for cost in costs] == [1, 1, 1 / 4, 2 / 16]
    assert [cost.run_speedup for cost in costs] == [cost.total_speedup for cost in costs]
