"""AP by class frequency in a run's log: where rare classes are shown more often, and nowhere else."""

import json
from dataclasses import replace

import pytest

from nanogfl.config import Config
from nanogfl.training.loop import train


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.0, 0.001])
def test_a_run_that_repeats_rare_classes_logs_their_ap(tiny: Config, tmp_path, capsys, threshold: float):
    config = replace(
        tiny, data=replace(tiny.data, repeat_threshold=threshold), train=replace(tiny.train, epochs=1, eval_every=1)
    )
    outcome = train(config, tmp_path)
    (entry,) = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
    shown = capsys.readouterr().out
    assert ("ap_rare" in entry) == ("APr" in shown) == (threshold > 0)
    if threshold:  # both classes are in at most 9 images
        assert entry["ap_rare"] == pytest.approx(outcome.report.ap)
        assert (entry["ap_common"], entry["ap_frequent"]) == (None, None)
