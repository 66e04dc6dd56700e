"""The report of an export: its figures are the measured ones, and it never outlives or costs the .onnx."""

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
from nanogfl.data.synthetic.dataset import draw_image
from nanogfl.errors import UserError
from nanogfl.machine.timing import Timing
from nanogfl.model.predictor import load_predictor
from nanogfl_deploy.runtime import Detector
from nanogfl_export.export import Exported, export_checkpoint
from nanogfl_export.gate.parity import Parity
from nanogfl_export.gate.rows import match_rows
from nanogfl_export.report.facts import SHOWN_SCORE, compare_sides, gather_facts
from nanogfl_export.report.picture import WIDTH, compose_picture, halves
from nanogfl_export.report.write import report_paths, write_report

GOLDEN = Path(__file__).parents[2] / "golden" / "embedded.onnx"
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


def table(page, heading):
    """The rows of the table below a heading: name -> cells."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines[2:]}


def test_the_page_states_the_measured_agreement_beside_what_is_allowed(exported, pictures):
    page = report_of(exported, pictures).page.read_text(encoding="utf-8")
    rows = table(page, "Agreement with PyTorch")
    figures = {name: [float(cell.split()[0]) for cell in cells] for name, cells in rows.items() if "difference" in name}
    assert figures == {
        "boxes, largest difference": [0.0123, 0.05],
        "spread, largest difference": [0.0045, 0.05],
        "scores, largest difference": [6.7e-05, 1e-4],
    }
    (matched,) = (cells for name, cells in rows.items() if name.startswith("detections matched"))
    assert matched[0] == "309 of 310"
    assert rows["pictures compared"][0] == "4"
    assert rows["decided by a tie"] == ["2", "6"]
    assert "- a\\|b.jpg: only PyTorch has label 3 score 0.0500\n- c.jpg: only .onnx" in page


def test_every_operator_is_counted_before_and_after(exported, pictures):
    page = report_of(exported, pictures).page.read_text(encoding="utf-8")
    rows = {name: tuple(int(cell) for cell in cells) for name, cells in table(page, "Nodes").items()}
    text = onnx.printer.to_text(exported.model.graph)  # another way: from the graph's text
    written = re.findall(r"= (\w+) ?(?:<.*?> ?)?\(", text)
    expected = {name: (written.count(name), written.count(name)) for name in written}
    expected["Identity"] = (written.count("Identity") + INSERTED, written.count("Identity"))
    assert rows.pop("**all**") == (len(written) + INSERTED, len(written))
    assert rows == expected
    assert f"{len(written) + INSERTED} nodes before the rewrites, {len(written)} after" in page
    counts = [max(pair) for pair in rows.values()]
    assert counts == sorted(counts, reverse=True)


def test_both_graphs_are_timed_on_the_picture_with_most_detections(exported, pictures):
    watch = Stopwatch()
    page = report_of(exported, pictures, timed=watch).page.read_text(encoding="utf-8")
    counts = [int((Detector(GOLDEN)(frame).scores >= SHOWN_SCORE).sum()) for _, frame in pictures]
    assert watch.names == {"plain", "written"}
    for found in watch.results.values():
        assert (found.scores >= SHOWN_SCORE).sum() == max(counts)
    assert table(page, "Latency") == {
        "without rewrites": ["12.00", "14.75", "11.50"],
        "the file": ["8.00", "9.25", "7.50"],
    }
    assert "**1.50 times as fast" in page
    assert "Some CPU, 1 thread" in page
    assert "40 rounds" in page


def test_without_rewrites_there_is_one_column_and_one_time(exported, pictures):
    watch = Stopwatch()
    page = report_of(replace(exported, plain=exported.model), pictures, timed=watch).page.read_text(encoding="utf-8")
    assert watch.names == {"written"}
    assert {len(cells) for cells in table(page, "Nodes").values()} == {1}
    assert list(table(page, "Latency")) == ["the file"]
    assert page.count("written without rewrites") == 2
    assert "times as fast" not in page
    assert " before" not in page.split("## Nodes")[1]


def test_the_page_describes_the_very_file_and_names_nothing_of_the_machine(exported, pictures):
    report = report_of(exported, pictures)
    page = report.page.read_text(encoding="utf-8")
    assert (report.page.name, report.picture.name) == ("small model_report.md", "small model_report.png")
    about = {name: cells[0] for name, cells in table(page, "The file").items()}
    assert about["size"].endswith(f"({GOLDEN.stat().st_size} bytes)")
    assert about["SHA-256"] == f"`{hashlib.sha256(GOLDEN.read_bytes()).hexdigest()}`"
    assert about["classes"].startswith("6: disc, rectangle")
    assert about["opset"] == "ai.onnx 18"
    assert about["checkpoint's SHA-256"] == f"`{exported.card.source['checkpoint_sha256']}`"
    assert "input 160 x 192 (height x width)" in page
    assert "nanogfl detect 'small model.onnx' photo.jpg" in page
    (link,) = re.findall(r"!\[[^]]*\]\(([^)]*)\)", page)
    assert "/" not in link
    assert (report.page.parent / unquote(link)).samefile(report.picture)
    assert str(exported.path.parent) not in page
    assert "/tmp" not in page
    assert "/home" not in page


# --- the picture -----------------------------------------------------------------------------------------------------


def test_both_halves_are_the_same_where_both_sides_agree_and_differ_only_at_a_box_that_moved():
    frame = draw_image(3, 0, (240, 320)).image
    ours = Detector(GOLDEN)(frame).above(SHOWN_SCORE)
    same = halves(compare_sides("x", frame, ours, ours), tuple("abcdef"))
    np.testing.assert_array_equal(*same)
    boxes = ours.boxes.copy()
    boxes[2, [0, 2]] += 12
    moved = Detections(boxes, ours.scores, ours.labels)
    left, right = halves(compare_sides("x", frame, ours, moved), tuple("abcdef"))
    np.testing.assert_array_equal(left, same[0])
    rows, columns = np.nonzero((left != right).any(axis=2))
    scale = left.shape[1] / 320
    x1, y1, x2, y2 = ours.boxes[2] * scale
    label = 40  # pixels for the name, above or beside
    assert len(rows) > 100
    assert y1 - label <= rows.min() <= rows.max() <= y2 + label
    assert x1 - 4 <= columns.min() <= columns.max() <= x2 + 12 * scale + 2 * label


@pytest.mark.slow
def test_pytorch_stands_on_the_left_and_the_file_on_the_right_of_three_pictures(exported, pictures):
    detector = Detector(GOLDEN)

    def pytorch(frame):  # a side that can be told from the other
        found = detector(frame)
        return replace(found, boxes=found.boxes + 9)

    facts = gather_facts(exported, pytorch, pictures, open_device=Detector, machine="Some CPU", timed=Stopwatch())
    sheet = compose_picture(facts)
    assert sheet.shape[1] == WIDTH
    assert len(facts.shown) == 3
    middle = WIDTH // 2
    for shown in facts.shown:
        corners = []
        halves_of_sheet = sheet[:, :middle], sheet[:, middle:]
        for side, picture in zip(halves_of_sheet, halves(shown, facts.exported.card.classes), strict=True):
            difference = cv2.matchTemplate(side, picture, cv2.TM_SQDIFF)
            top, left = np.unravel_index(difference.argmin(), difference.shape)
            place = side[top : top + picture.shape[0], left : left + picture.shape[1]]
            np.testing.assert_array_equal(place, picture)
            corners.append(top)
        assert corners[0] == corners[1]


def test_what_stands_above_a_picture_is_counted_and_measured_in_its_own_pixels():
    frame = np.zeros((100, 200, 3), np.uint8)
    boxes = np.array([[10, 10, 60, 60], [100, 20, 180, 90], [0, 0, 50, 50]], np.float32)
    ours = Detections(boxes, np.array([0.9, 0.6, 0.1], np.float32), np.array([0, 1, 0]))
    order = np.array([1, 0])  # theirs: another order, one row less, a little off
    theirs = Detections(boxes[order] + 0.125, ours.scores[order] - 0.0005, ours.labels[order])
    shown = compare_sides("x", frame, ours, theirs)
    np.testing.assert_array_equal(match_rows(ours, theirs).pair, [1, 0, -1])
    assert shown.matched == 2
    assert shown.box_px == pytest.approx(0.125, abs=1e-5)
    assert shown.score == pytest.approx(0.0005, abs=1e-6)
    assert [len(side) for side in shown.drawn()] == [2, 2]


def test_where_nothing_reaches_the_shown_score_the_best_few_are_drawn():
    frame = np.zeros((100, 200, 3), np.uint8)
    boxes = np.tile(np.array([10, 10, 60, 60], np.float32), (9, 1))
    faint = Detections(boxes, np.linspace(0.3, 0.1, 9, dtype=np.float32), np.zeros(9, np.int64))
    first, second = compare_sides("x", frame, faint, faint.take(np.arange(3))).drawn()
    np.testing.assert_array_equal(first.scores, faint.scores[:5])
    assert len(second) == 3
    nothing = faint.take(np.arange(0))
    left, _ = halves(compare_sides("x", frame, nothing, nothing), ("a",))
    assert not left.any()


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
    rows = table(page, "Agreement with PyTorch")
    assert float(rows["boxes, largest difference"][0].split()[0]) == pytest.approx(done.parity.box_px, rel=0.01)
    assert float(rows["scores, largest difference"][0]) == pytest.approx(done.parity.score, rel=0.01)
    assert f"{done.parity.matched} of {done.parity.detections}" in page
    assert cv2.imread(str(report.picture)).shape[1] == WIDTH
    assert {path.name for path in tmp_path.iterdir()} == {"small.onnx", "small_report.md", "small_report.png"}
