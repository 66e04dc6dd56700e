"""The report of an export: it states what was measured, and it never outlives or costs the .onnx."""

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import onnx
import pytest

from nanogfl.contract.detections import Detections
from nanogfl.contract.shown_score import SHOWN_SCORE
from nanogfl.data.synthetic.dataset import draw_image
from nanogfl.errors import UserError
from nanogfl.machine.timing import Timing
from nanogfl.model.predictor import load_predictor
from nanogfl_deploy.runtime import Detector
from nanogfl_export.export import Exported, export_checkpoint
from nanogfl_export.gate.parity import Parity
from nanogfl_export.report import Shown, draw_both_sides, report_paths, write_report

GOLDEN = Path(__file__).parents[1] / "golden" / "embedded.onnx"
PARITY = Parity(
    images=4, box_px=0.0123, spread_px=0.0045, score=6.7e-05, detections=310, matched=309, ties=2,
    tie_rows=["a|b.jpg: only PyTorch has label 3 score 0.0500", "c.jpg: only .onnx has label 1 score 0.0500"],
)  # fmt: skip
SIZES = [(240, 320), (160, 120), (200, 420)]  # height, width
INSERTED = 5


@pytest.fixture(scope="module")
def pictures():
    return [(f"drawn {n}", draw_image(3, n, SIZES[n % 3]).image) for n in range(4)]


@pytest.fixture
def exported(tmp_path):
    """A file whose graph before the rewrites had five nodes more, which do nothing."""
    path = tmp_path / "two words" / "small model.onnx"
    path.parent.mkdir()
    shutil.copy(GOLDEN, path)
    model = onnx.load_model(path)
    return Exported(path, Detector(path).card, PARITY, model, with_identities(model, INSERTED))


def with_identities(model, count):
    """A copy with `count` nodes Identity behind the input."""
    longer = onnx.ModelProto()
    longer.CopyFrom(model)
    for node in longer.graph.node:
        node.input[:] = [f"image_{count - 1}" if name == "image" else name for name in node.input]
    for index in reversed(range(count)):
        source = "image" if index == 0 else f"image_{index - 1}"
        longer.graph.node.insert(0, onnx.helper.make_node("Identity", [source], [f"image_{index}"]))
    return longer


class Stopwatch:
    """In place of the timing loop: calls everything once, answers with known figures."""

    def __init__(self):
        self.names, self.results = set(), {}

    def __call__(self, calls):
        self.names = set(calls)
        self.results = {name: call() for name, call in calls.items()}
        times = {
            "written": Timing(8.0, 9.25, 7.5, 40, (8.0, 7.5, 9.0)),
            "plain": Timing(12.0, 14.75, 11.5, 40, (12.0, 11.25, 14.4)),
        }
        return {name: times[name] for name in calls}


def report_of(exported, pictures, pytorch=None, open_device=Detector, timed=None):
    """`pytorch`: here a runtime as well, unless the test is about both sides."""
    return write_report(
        exported,
        pytorch or Detector(GOLDEN),
        pictures,
        open_device=open_device,
        machine="Some CPU, 1 thread",
        timed=timed or Stopwatch(),
    )


def table(page):
    """The rows of the table: name -> cells."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in page.splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines[2:]}


def test_the_page_states_the_measured_agreement_beside_what_is_allowed(exported, pictures):
    page = report_of(exported, pictures).page.read_text(encoding="utf-8")
    rows = table(page)
    figures = {name: [float(cell.split()[0]) for cell in cells] for name, cells in rows.items() if "difference" in name}
    assert figures == {
        "boxes, largest difference": [0.0123, 0.05],
        "spread, largest difference": [0.0045, 0.05],
        "scores, largest difference": [6.7e-05, 1e-4],
    }
    assert rows["detections matched, one to one"][0] == "309 of 310"
    assert rows["pictures compared"][0] == "4"
    assert rows["decided by a tie"] == ["2", "6"]
    assert "- a\\|b.jpg: only PyTorch has label 3 score 0.0500\n- c.jpg: only .onnx" in page


def test_both_graphs_are_counted_and_timed_on_the_picture_with_most_detections(exported, pictures):
    watch = Stopwatch()
    page = report_of(exported, pictures, timed=watch).page.read_text(encoding="utf-8")
    counts = [int((Detector(GOLDEN)(frame).scores >= SHOWN_SCORE).sum()) for _, frame in pictures]
    assert watch.names == {"plain", "written"}
    for found in watch.results.values():
        assert (found.scores >= SHOWN_SCORE).sum() == max(counts)
    rows, nodes = table(page), len(exported.model.graph.node)
    assert rows["nodes"] == [str(nodes), f"without rewrites: {nodes + INSERTED}"]
    assert rows["latency p50, p95, min"] == ["8.00, 9.25, 7.50 ms", "without rewrites: 12.00, 14.75, 11.50 ms"]
    assert rows["times as fast as without rewrites"][0].startswith("1.50")
    assert "Some CPU, 1 thread" in page


def test_without_rewrites_there_is_one_time(exported, pictures):
    watch = Stopwatch()
    page = report_of(replace(exported, plain=exported.model), pictures, timed=watch).page.read_text(encoding="utf-8")
    assert watch.names == {"written"}
    assert table(page)["nodes"][1] == "written without rewrites"
    assert "times as fast" not in page


def test_the_page_describes_the_very_file_and_names_nothing_of_the_machine(exported, pictures):
    report = report_of(exported, pictures)
    page = report.page.read_text(encoding="utf-8")
    assert (report.page.name, report.picture.name) == ("small model_report.md", "small model_report.png")
    about = {name: cells[0] for name, cells in table(page).items()}
    assert about["size"].endswith(f"({GOLDEN.stat().st_size} bytes)")
    assert about["SHA-256"] == f"`{hashlib.sha256(GOLDEN.read_bytes()).hexdigest()}`"
    assert about["classes"].startswith("6: disc, rectangle")
    assert about["checkpoint's SHA-256"] == f"`{exported.card.source['checkpoint_sha256']}`"
    assert about["input"].startswith("160 x 192")
    (link,) = re.findall(r"!\[[^]]*\]\(([^)]*)\)", page)
    assert "/" not in link
    assert (report.page.parent / unquote(link)).samefile(report.picture)
    for place in (str(exported.path.parent), "/tmp", "/home"):
        assert place not in page


# --- the picture -----------------------------------------------------------------------------------------------------


def halves(sheet):
    """PyTorch's side and the file's, which are equally wide with a gap of 4 pixels between them."""
    width = (sheet.shape[1] - 4) // 2
    return sheet[60:, :width], sheet[60:, -width:]  # below the titles


def test_both_halves_are_the_same_where_both_sides_agree_and_differ_only_at_a_box_that_moved():
    frame = draw_image(3, 0, (240, 320)).image
    ours = Detector(GOLDEN)(frame).above(SHOWN_SCORE)
    same = halves(draw_both_sides([Shown("x", frame, ours, ours)], tuple("abcdef")))
    np.testing.assert_array_equal(*same)
    boxes = ours.boxes.copy()
    boxes[2, [0, 2]] += 12
    moved = Detections(boxes, ours.scores, ours.labels)
    left, right = halves(draw_both_sides([Shown("x", frame, ours, moved)], tuple("abcdef")))
    np.testing.assert_array_equal(left, same[0])
    _, columns = np.nonzero((left != right).any(axis=2))
    scale = left.shape[1] / 320
    x1, _, x2, _ = ours.boxes[2] * scale
    assert len(columns) > 100
    assert x1 - 4 <= columns.min() <= columns.max() <= x2 + 12 * scale + 80  # 80: the class's name


def test_where_nothing_reaches_the_shown_score_the_best_few_are_drawn():
    frame = np.zeros((100, 200, 3), np.uint8)
    boxes = np.tile(np.array([10, 10, 60, 60], np.float32), (9, 1))
    faint = Detections(boxes, np.linspace(0.3, 0.1, 9, dtype=np.float32), np.zeros(9, np.int64))
    first, second = Shown("x", frame, faint, faint.take(np.arange(3))).drawn()
    np.testing.assert_array_equal(first.scores, faint.scores[:5])
    assert len(second) == 3
    nothing = faint.take(np.arange(0))
    left, right = halves(draw_both_sides([Shown("x", frame, nothing, nothing)], ("a",)))
    assert not left.any()
    assert not right.any()


# --- when it cannot be made ------------------------------------------------------------------------------------------


def test_a_report_that_fails_leaves_the_onnx_and_no_report_of_an_earlier_file(exported, pictures):
    before = exported.path.read_bytes()
    report_of(exported, pictures)

    def only_the_written_file(path):
        if path != exported.path:
            raise UserError("this graph cannot be opened")
        return Detector(path)

    with pytest.raises(UserError, match=r"small model\.onnx is written and verified, but not its report: this graph"):
        report_of(exported, pictures, open_device=only_the_written_file)
    assert exported.path.read_bytes() == before
    assert list(exported.path.parent.iterdir()) == [exported.path]


def test_neither_of_the_two_is_left_where_one_cannot_be_written(exported, pictures):
    report_paths(exported.path).page.mkdir()  # a folder of that name
    with pytest.raises(UserError, match="is written and verified, but not its report"):
        report_of(exported, pictures)
    assert {path.suffix for path in exported.path.parent.iterdir()} == {".onnx", ".md"}


@pytest.mark.parametrize("broken", [{"box_px": 0.06}, {"unexplained": ["x: only .onnx has label 1"]}])
def test_what_the_gate_refuses_has_no_report(exported, pictures, broken):
    with pytest.raises(UserError, match="PyTorch"):
        report_of(replace(exported, parity=replace(PARITY, **broken)), pictures)
    assert list(exported.path.parent.iterdir()) == [exported.path]


# --- with the detector in PyTorch ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_report_of_a_real_export(checkpoint_path, frames, tmp_path):
    done = export_checkpoint(
        checkpoint_path, tmp_path / "small.onnx", frames=frames, frames_origin="6 drawn", open_device=Detector
    )
    report = report_of(done, frames, pytorch=load_predictor(checkpoint_path))
    page = report.page.read_text(encoding="utf-8")
    rows = table(page)
    assert float(rows["boxes, largest difference"][0].split()[0]) == pytest.approx(done.parity.box_px, rel=0.01)
    assert float(rows["scores, largest difference"][0]) == pytest.approx(done.parity.score, rel=0.01)
    assert rows["detections matched, one to one"][0] == f"{done.parity.matched} of {done.parity.detections}"
    assert cv2.imread(str(report.picture)).shape[1] == 2 * 800 + 4
    assert {path.name for path in tmp_path.iterdir()} == {"small.onnx", "small_report.md", "small_report.png"}
