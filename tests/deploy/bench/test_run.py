"""bench: what it says, not how fast this machine is."""

from dataclasses import replace

import numpy as np
import pytest

from nanogfl.machine.timing import Speedup, summarise
from nanogfl_deploy.bench.cpu_limit import CHANNELS, LAYERS, SIDES, peak_calls, peak_rate
from nanogfl_deploy.bench.run import Cost, bench, measure_costs, textured_frame

from .figures import some_cost


def test_the_frame_is_the_same_everywhere_and_has_texture():
    frame = textured_frame()
    assert (frame.shape, frame.dtype) == ((720, 1280, 3), np.uint8)
    assert np.array_equal(frame, textured_frame())
    assert frame.astype(float).std() > 30
    assert np.abs(np.diff(frame.astype(int), axis=1)).mean() > 3


@pytest.mark.parametrize("hw", [(1, 1), (17, 33), (39, 500)])
def test_a_frame_may_be_small(hw):
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
        assert cost.limit > 1e8  # any CPU of this century
        assert (cost.macs, cost.share) == (None, None)  # the golden card does not say


def test_a_model_is_compared_with_the_first_one_that_has_as_many_threads(blank_path, monkeypatch):
    """The stages' times are made up: 1 and 2 ms for the first model with 1 and 2 threads, 4 and 16 for the second."""

    def made_up(calls, rounds, warmup):
        spent = {"0": 1, "1": 2, "2": 4, "3": 16}
        return {name: summarise([spent.get(name.split()[0], 1)] * rounds) for name in calls}

    monkeypatch.setattr(bench, "measure", made_up)
    costs = measure_costs([blank_path, blank_path], [1, 2], textured_frame(90, 160), rounds=3)
    assert [cost.total_speedup.p50 for cost in costs] == [1, 1, 1 / 4, 2 / 16]
    assert [cost.run_speedup for cost in costs] == [cost.total_speedup for cost in costs]


def test_the_share_is_unpadded_macs_a_second_over_the_limit():
    cost: Cost = some_cost(run=10.0, macs=400_000_000, limit=100e9)  # 40 GMAC/s of 100
    assert cost.share == pytest.approx(0.4)
    assert replace(cost, macs=None).share is None
    assert cost.run_speedup == Speedup(1.0, 1.0, 1.0)


def test_the_peak_is_the_best_size_by_its_median():
    small, large = SIDES
    macs = {side: LAYERS * CHANNELS * CHANNELS * side * side for side in SIDES}
    timings = {f"peak 2 {small}": summarise([1.0, 2.0, 9.0]), f"peak 2 {large}": summarise([3.0, 3.0, 3.0])}
    assert peak_rate(timings, 2) == pytest.approx(max(macs[small] / 2e-3, macs[large] / 3e-3))
    timings[f"peak 2 {small}"] = summarise([0.1, 99.0, 99.0])  # one lucky round is no limit
    assert peak_rate(timings, 2) == pytest.approx(macs[large] / 3e-3)


def test_the_peak_files_convolutions_are_all_computed():
    """Each layer gives mean + .01 of what it gets: 8 layers of ones are 1.08, and no layer was folded away."""
    calls = peak_calls(1)
    assert sorted(calls) == [f"peak 1 {side}" for side in sorted(SIDES)]
    for side in SIDES:
        (values,) = calls[f"peak 1 {side}"]()
        assert values.shape == (1, CHANNELS, side, side)
        np.testing.assert_allclose(values, 1 + 0.01 * LAYERS, rtol=1e-4)
