"""A device process measured from outside. How fast it is belongs to benchmarks/device_process.py."""

from pathlib import Path

import numpy as np
import pytest

from nanogfl.errors import UserError
from nanogfl_deploy.bench import cold_start as module
from nanogfl_deploy.bench.cold_start import cold_start, start_cold
from tests.commands import accepted, python


def run_python(code, *arguments):
    return accepted(python("-c", code, *arguments))


def test_the_total_is_the_three_parts_and_lies_within_the_process(blank_path):
    found = start_cold(blank_path, threads=1)
    assert found["total"] == pytest.approx(found["import"] + found["open"] + found["first"])
    assert 0 < found["total"] < found["process"]
    assert (found["threads"], found["heavy"]) == (1, [])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system keeps no peak of its own for a child")
def test_peak_memory_is_the_childs_and_not_what_its_parent_held(blank_path):
    """getrusage hands a parent's resident memory down: a bench with open models reported itself."""
    held = np.ones(400 << 17)  # 400 MiB, touched
    peak = start_cold(blank_path, threads=1)["peak_bytes"]
    assert 20e6 < peak < 300e6 < held.nbytes


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is not known everywhere")
def test_peak_memory_remembers_what_was_freed():
    freed = "import numpy as np; np.ones(200 << 17)"
    code = f"{freed}; from nanogfl_deploy.bench.cold import peak_memory; print(peak_memory())"
    assert int(run_python(code)) > 200 << 20


def test_a_package_that_a_device_must_not_load_is_named(blank_path):
    code = """
import sys, types
sys.modules["torch"] = types.ModuleType("torch")
sys.argv = ["cold", sys.argv[1]]
from nanogfl_deploy.bench.cold import main
main()
"""
    assert '"heavy": ["torch"]' in run_python(code, str(blank_path))


def test_the_clock_starts_before_anything_is_imported():
    code = """
import sys
before = set(sys.modules)
import nanogfl_deploy.bench.cold
print(sorted(set(sys.modules) - before))
"""
    ours = ["nanogfl", "nanogfl_deploy", "nanogfl_deploy.bench", "nanogfl_deploy.bench.cold"]
    assert run_python(code) == f"{ours}\n"


def test_the_package_offers_the_detector_and_nothing_that_is_not_there():
    import nanogfl_deploy
    from nanogfl_deploy.runtime import Detector

    assert nanogfl_deploy.Detector is Detector
    with pytest.raises(AttributeError, match="Tracker"):
        _ = nanogfl_deploy.Tracker


def test_a_process_that_fails_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"could not run .*nothing\.onnx: .*does not exist"):
        start_cold(tmp_path / "nothing.onnx", threads=1)


def test_the_first_process_stands_apart_and_the_rest_are_medians(monkeypatch):
    totals = iter([9.0, 1.0, 5.0, 2.0])

    def fake(model, threads):
        total = next(totals)
        parts = dict.fromkeys(("import", "open", "first", "process"), total / 4)
        return {**parts, "total": total, "peak_bytes": int(total * 100), "heavy": ["onnx"] if total == 5 else []}

    monkeypatch.setattr(module, "start_cold", fake)
    found = cold_start(Path("any.onnx"), threads=2, repeats=3)
    assert (found["total"], found["slowest"], found["disk_cold"]) == (2.0, 5.0, 9.0)
    assert (found["open"], found["peak_bytes"], found["heavy"]) == (0.5, 500, ["onnx"])
