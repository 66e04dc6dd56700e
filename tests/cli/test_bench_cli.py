"""`nanogfl bench` as a user meets it, without a package of the training side."""

import json

import cv2
import numpy as np
import pytest

from tests.commands import ROOT, nanogfl
from tests.commands import refused as one_line

MODEL = ROOT / "tests" / "golden" / "blank_detections.onnx"


@pytest.fixture
def bench(tmp_path):
    """Runs the command in an empty folder, with few rounds and no cold start."""

    def run(*arguments, **patched):
        return nanogfl(tmp_path, "bench", "--rounds", "2", "--cold", "0", *arguments, **patched)

    return run


def refused(done):
    """The line of a command that printed nothing else."""
    assert done.stdout == ""
    return one_line(done)


def found(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_bench_ends_with_one_line_of_json(bench, tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), np.full((50, 70, 3), (0, 0, 255), np.uint8))
    done = bench(MODEL, "--threads", "1,2", "--image", "red.png")
    content = found(done)
    assert [cost["threads"] for cost in content["costs"]] == [1, 2]
    assert content["frame"] == {"name": "red.png", "height": 50, "width": 70}
    assert done.stderr.splitlines() == ["latency: 1 model with 1, 2 threads, 2 rounds"]


def test_a_cold_start_is_measured_in_processes_of_its_own(bench):
    done = bench(MODEL, "--cold", 1)
    (cold,) = found(done)["cold"]
    assert (cold["model"], cold["repeats"], cold["heavy"]) == (str(MODEL), 1, [])
    assert 0 < cold["total"] < cold["process"]
    assert "cold start: 2 processes" in done.stderr
    assert "peak memory" in done.stdout


@pytest.mark.parametrize(("text", "counts"), [("1-3", [1, 2, 3]), ("2..3,1", [2, 3, 1]), (" 2 , 2,1", [2, 1])])
def test_threads_are_numbers_and_ranges_in_the_order_given(bench, text, counts):
    assert [cost["threads"] for cost in found(bench(MODEL, "--threads", text))["costs"]] == counts


def test_threads_that_are_no_numbers_are_refused(bench):
    for text in ("one", "0", "1,,2", "-1", "3-1", "1-", "999", "1-2-3"):
        assert "expected numbers from 1" in refused(bench(MODEL, "--threads", text)), text


def test_a_frame_has_a_width_and_a_height(bench):
    content = found(bench(MODEL, "--frame", "33x17"))
    assert content["frame"] == {"name": "textured, generated", "height": 17, "width": 33}
    for text in ("640", "0x480", "640x", "640x99999", "big", "-1x5"):
        assert "expected a width and a height" in refused(bench(MODEL, "--frame", text)), text
    assert "leave one of them out" in refused(bench(MODEL, "--frame", "64x48", "--image", "red.png"))


def test_a_checkpoint_is_refused(bench):
    assert "bench times .onnx files" in refused(bench("best.pt"))


def test_nothing_is_measured_when_the_second_file_is_no_model(bench, tmp_path):
    (tmp_path / "text.onnx").write_text("I am a text")
    assert "text.onnx is not an .onnx" in refused(bench(MODEL, "text.onnx", "--plot", "plot.png"))
    assert not (tmp_path / "plot.png").exists()


def test_a_plot_is_a_png(bench, tmp_path):
    done = bench(MODEL, "--threads", "1,2", "--plot", "new/plot.png")
    assert found(done)
    picture = cv2.imread(str(tmp_path / "new" / "plot.png"))
    assert picture.shape[0] < picture.shape[1]
    assert "ends in .png" in refused(bench(MODEL, "--plot", "plot.jpg"))


def test_a_card_without_onnx_says_what_to_install(bench, tmp_path):
    model = tmp_path / "copy.onnx"
    model.write_bytes(MODEL.read_bytes())
    line = refused(bench(model, "--card", onnx=None))
    assert (
        line == "nanogfl: this command needs the package 'onnx', which is not installed: pip install 'nanogfl[export]'"
    )
    assert model.read_bytes() == MODEL.read_bytes()


def test_the_card_is_written_only_when_asked(bench, tmp_path):
    pytest.importorskip("onnx")
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(MODEL.read_bytes())
    assert found(bench("a.onnx", "b.onnx"))
    assert (tmp_path / "a.onnx").read_bytes() == MODEL.read_bytes()

    content = found(bench("a.onnx", "b.onnx", "--threads", "1,2", "--card"))
    from nanogfl_deploy.runtime import Detector

    for index, name in enumerate(("a.onnx", "b.onnx")):
        card = Detector(tmp_path / name, 1).card
        assert card.bench["threads"]["2"]["total"]["p50"] == content["costs"][2 * index + 1]["total"]["p50"]
        assert card.bench["machine"] == content["machine"]
    written = (tmp_path / "a.onnx").read_bytes()
    assert found(bench("a.onnx"))
    assert (tmp_path / "a.onnx").read_bytes() == written
