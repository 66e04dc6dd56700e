"""The Detector, on graphs whose answers are arithmetic: score = mean of a cell's channel / 255, and so on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nanogfl.contract.detections import sides_at
from nanogfl.errors import UserError
from nanogfl_deploy.runtime import Detector, Outputs, open_session

GOLDEN = Path(__file__).parents[1] / "golden"
DISTRIBUTIONS = GOLDEN / "blank_distributions.onnx"


def without_card(content: bytes) -> bytes:
    """A valid .onnx whose metadata key is another one of the same length."""
    return content.replace(b"nanogfl", b"another")


def test_both_formats_find_what_the_arithmetic_says(blank_path, cells_frame):
    found = Detector(blank_path, threads=1)(cells_frame)
    # cell 1: blue 255/255 and green 51/255 = .2, its right side at 32 + 16 + 16 * .2; cell 5: red 204/255 = .8
    assert found.labels.tolist() == [0, 2, 1]
    assert found.scores == pytest.approx([1.0, 0.8, 0.2])
    assert found.boxes == pytest.approx(np.array([[32, 0, 51.2, 32], [64, 32, 80, 64], [32, 0, 51.2, 32]]), abs=1e-4)
    assert found.spread == pytest.approx(np.array([[0, 0, 0, 0], [0.8, 1.6, 2.4, 3.2], [0, 0, 0, 0]]), abs=1e-5)


def test_boxes_and_spread_come_back_in_source_pixels(blank_path, cells_frame):
    frame = np.repeat(np.repeat(cells_frame, 3, axis=0), 3, axis=1)  # 192 x 288: the input is a third of it
    found = Detector(blank_path, threads=1)(frame)
    assert found.boxes[1] == pytest.approx([192, 96, 240, 192], abs=1e-3)
    assert found.spread[1] == pytest.approx([2.4, 4.8, 7.2, 9.6], abs=1e-4)


def test_a_frame_of_another_shape_is_letterboxed_and_boxes_stay_inside_it(blank_path):
    # 64 x 32 lies in the left third of the input: cells 0 and 3; the rest is padding of value 0
    found = Detector(blank_path, threads=1)(np.full((64, 32, 3), 255, np.uint8))
    assert sorted(found.labels.tolist()) == [0, 0, 1, 1, 2, 2]
    assert found.boxes[:, 2].max() <= 32


def test_an_empty_picture_has_no_detections(blank_path):
    found = Detector(blank_path, threads=1)(np.zeros((64, 96, 3), np.uint8))
    assert (found.boxes.shape, found.scores.shape, found.labels.shape) == ((0, 4), (0,), (0,))


def test_both_formats_agree_on_random_pictures():
    one, other = (Detector(GOLDEN / f"blank_{name}.onnx", threads=1) for name in ("detections", "raw"))
    rng = np.random.default_rng(3)
    for _ in range(50):
        shape = (int(rng.integers(1, 200)), int(rng.integers(1, 200)), 3)
        frame = rng.integers(0, 256, shape, dtype=np.uint8) // int(rng.integers(1, 40))
        left, right = one(frame), other(frame)
        assert np.array_equal(left.labels, right.labels)
        assert np.array_equal(left.scores, right.scores)
        assert np.array_equal(left.boxes, right.boxes)
        assert np.array_equal(left.spread, right.spread)


def test_calling_is_prepare_run_finish(blank_path, cells_frame):
    detector = Detector(blank_path, threads=2)
    image, placement = detector.prepare(cells_frame)
    by_stages = detector.finish(detector.run(image), placement)
    assert np.array_equal(by_stages.boxes, detector(cells_frame).boxes)


def test_rows_beyond_the_detections_are_dropped_by_label_or_score():
    detector = Detector(GOLDEN / "blank_detections.onnx", threads=1)
    _, placement = detector.prepare(np.zeros((64, 96, 3), np.uint8))
    rows = Outputs(
        boxes=np.tile(np.array([1, 1, 9, 9], np.float32), (3, 1)),
        scores=np.array([0.5, 0.4, 0.0], np.float32),
        labels=np.array([2, -1, 1]),
        spread=None,
    )
    assert detector.finish(rows, placement).labels.tolist() == [2]
    assert len(detector.finish(replace(rows, labels=np.array([-1, -1, -1])), placement)) == 0


def test_the_card_says_classes_and_input(blank_path):
    detector = Detector(str(blank_path))
    assert detector.class_names == ("blue", "green", "red")
    assert detector.card.input.hw == (64, 96)
    assert detector.card.category_ids == (1, 2, 7)
    assert detector.output_shapes["boxes"][-1] == 4


def test_a_missing_model_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"model .*none\.onnx does not exist"):
        Detector(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"", b"I am a text file\n", b"\x08\x07garbage" * 40])
def test_a_file_that_is_no_onnx_is_a_sentence_and_onnxruntime_prints_nothing(tmp_path, capfd, content):
    path = tmp_path / "text.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is not an \.onnx that onnxruntime"):
        Detector(path)
    assert capfd.readouterr() == ("", "")


def test_a_truncated_model_is_a_sentence(tmp_path, blank_path):
    path = tmp_path / "half.onnx"
    path.write_bytes(blank_path.read_bytes()[:700])
    with pytest.raises(UserError, match=r"is not an \.onnx"):
        Detector(path)


def test_an_onnx_that_is_not_ours_says_so(tmp_path, blank_path):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(without_card(blank_path.read_bytes()))
    with pytest.raises(UserError, match=r"an \.onnx that is not ours"):
        Detector(path)


def test_a_card_of_another_contract_names_the_file(tmp_path, blank_path):
    path = tmp_path / "future.onnx"
    path.write_bytes(blank_path.read_bytes().replace(b'"contract": 1', b'"contract": 2'))
    with pytest.raises(UserError, match=r"future\.onnx: the model card has contract version 2"):
        Detector(path)


def test_a_graph_that_differs_from_its_card_is_refused(tmp_path, blank_path):
    path = tmp_path / "other_input.onnx"
    path.write_bytes(blank_path.read_bytes().replace(b'"hw": [64, 96]', b'"hw": [96, 64]'))
    with pytest.raises(UserError, match="expected one input 'image'"):
        Detector(path)


def test_a_card_that_promises_more_outputs_than_there_are_is_refused(tmp_path):
    path = tmp_path / "no_labels.onnx"
    content = (GOLDEN / "blank_raw.onnx").read_bytes()
    # the card must keep its length, which stands before it: 7 letters more in the format, 7 fewer in the origin
    content = content.replace(b'"raw"', b'"detections"').replace(b"tests/golden/make_blank.py", b"golden/make_blank.p")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"promises the outputs \['labels'\]"):
        Detector(path)


def test_no_threads_is_refused(blank_path):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Detector(blank_path, threads=0)


def test_distributions_are_read_where_the_card_says_so(cells_frame):
    found = Detector(DISTRIBUTIONS, threads=1)(cells_frame)
    assert found.labels.tolist() == [0, 2, 1]
    assert found.sides.probabilities.shape == (3, 4, 4)
    # cell 1, green .2: left in bin 1, top and bottom in bin 2, right in bin 3 with probability .2, else in bin 1
    assert found.sides.probabilities[0] == pytest.approx(
        np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0.8, 0, 0.2], [0, 0, 1, 0]]), abs=1e-6
    )
    assert found.sides.origin[0].tolist() == [40, 16, 40, 16]
    assert found.sides.step[0].tolist() == [-8, -8, 8, 8]
    assert found.sides.expectation() == pytest.approx(found.boxes, abs=1e-4)
    assert found.sides.deviation()[0] == pytest.approx([0, 0, 6.4, 0], abs=1e-4)  # 8 * 2 * sqrt(.2 * .8)


def test_distributions_come_back_in_source_pixels_and_rows_beyond_the_detections_are_dropped(cells_frame):
    frame = np.repeat(np.repeat(cells_frame, 3, axis=0), 2, axis=1)  # 192 x 192: the input holds a third of it, 64 x 64
    detector = Detector(DISTRIBUTIONS, threads=1)
    image, placement = detector.prepare(frame)
    outputs = detector.run(image)
    assert outputs.sides.probabilities.shape == (10, 4, 4)
    found = detector.finish(outputs, placement)
    assert 0 < len(found) < 10
    assert found.sides.step[0].tolist() == [-24, -24, 24, 24]
    assert found.sides.expectation() == pytest.approx(found.boxes, abs=1e-3)
    assert found.sides.probabilities.sum(axis=-1) == pytest.approx(1)


def test_raw_points_keep_their_distributions_through_the_clients_selection(cells_frame):
    detector = Detector(GOLDEN / "blank_raw.onnx", threads=1)
    image, placement = detector.prepare(cells_frame)
    outputs = detector.run(image)
    mark = np.arange(12, dtype=np.float32)  # the point's number instead of a probability
    sides = sides_at(np.broadcast_to(mark[:, None, None], (12, 4, 1)), np.tile(mark[:, None], (1, 3)))
    found = detector.finish(replace(outputs, sides=sides), placement)
    assert found.sides.probabilities[:, 0, 0].tolist() == [1, 5, 1]


def test_a_file_without_distributions_has_no_sides(blank_path, cells_frame):
    assert Detector(blank_path, threads=1)(cells_frame).sides is None


def test_a_card_that_promises_distributions_that_are_not_there_is_refused(tmp_path):
    path = tmp_path / "renamed.onnx"
    path.write_bytes(DISTRIBUTIONS.read_bytes().replace(b"distributions", b"disintegrated"))
    with pytest.raises(UserError, match=r"promises the outputs \['distributions'\]"):
        Detector(path)


def test_threads_rest_between_frames_and_no_memory_is_planned_ahead(blank_path):
    """A second model in the same process took 1.4 to 3 times as long while the first one's threads waited busily."""
    options = open_session(blank_path, threads=2).get_session_options()
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    assert not options.enable_mem_pattern


@pytest.mark.parametrize("kind", ["detections", "raw", "distributions"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("output", "constant"), [("boxes", (0, 0, 16, 0)), ("spread", (1, 2, 3, 4)), ("scores", (255,))]
)
def test_outputs_that_are_not_finite_are_a_sentence(tmp_path, cells_frame, kind, value, output, constant):
    content = (GOLDEN / f"blank_{kind}.onnx").read_bytes()
    bad = np.full(len(constant), value, np.float32)
    if output == "scores":  # they are divided by it; the graph itself drops those that are nan
        bad = np.zeros(1, np.float32) if value == np.inf or kind != "raw" else bad
    path = tmp_path / "bad.onnx"
    path.write_bytes(content.replace(np.array(constant, np.float32).tobytes(), bad.tobytes()))
    with pytest.raises(UserError, match=rf"bad\.onnx delivers .*{output} that are not finite"):
        Detector(path, threads=1)(cells_frame)
