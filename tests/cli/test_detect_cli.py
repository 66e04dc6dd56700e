"""`nanogfl detect` and `info` as a user meets them."""

import json
import os

import cv2
import numpy as np
import pytest

from tests.commands import ROOT, accepted, process, refused
from tests.commands import nanogfl as command

MODEL = ROOT / "tests" / "golden" / "blank_detections.onnx"


@pytest.fixture
def nanogfl(tmp_path):
    """Runs the command in an empty folder."""
    return lambda *arguments: command(tmp_path, *arguments)


@pytest.fixture
def red_picture(tmp_path):
    """Its top left cell is red: one detection, class red, score 1."""
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:32, :32, 2] = 255
    path = tmp_path / "pictures" / "red.png"
    path.parent.mkdir()
    path.write_bytes(cv2.imencode(".png", frame)[1].tobytes())
    return path


def test_without_a_window_it_saves_and_says_so(red_picture, tmp_path):
    said = accepted(process(tmp_path, "detect", MODEL, red_picture))
    first, last = said.splitlines()
    assert first == (
        "no window: there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); saving to runs/detect/red.png"
    )
    assert last.startswith("1 frame; red 1; median ")
    assert last.endswith(" ms; saved runs/detect/red.png")
    picture = cv2.imread(str(tmp_path / "runs/detect/red.png"))
    assert not np.array_equal(picture, cv2.imread(str(red_picture)))


def test_json_is_written_and_nothing_else(nanogfl, red_picture, tmp_path):
    done = nanogfl("detect", MODEL, red_picture, "--json", "found.jsonl", "--threads", 1)
    assert done.returncode == 0
    found = json.loads((tmp_path / "found.jsonl").read_text(encoding="utf-8"))
    assert found["detections"] == [
        {"box": [0.0, 0.0, 16.0, 32.0], "score": 1.0, "label": 2, "class": "red", "spread": [1.0, 2.0, 3.0, 4.0]}
    ]
    assert not (tmp_path / "runs").exists()


def test_the_threshold_is_the_clients(nanogfl, tmp_path):
    path = tmp_path / "dim.png"
    path.write_bytes(cv2.imencode(".png", np.full((64, 96, 3), (51, 0, 0), np.uint8))[1].tobytes())  # blue .2
    assert "no detections" in nanogfl("detect", MODEL, path, "--json", "a.json").stdout
    assert "blue 6" in nanogfl("detect", MODEL, path, "--json", "b.json", "--threshold", 0.1).stdout


def test_a_folder_skips_what_is_no_image_and_strict_does_not(nanogfl, red_picture, tmp_path):
    (red_picture.parent / "broken.jpg").write_text("no picture")
    done = nanogfl("detect", MODEL, red_picture.parent, "--save", "out")
    assert done.returncode == 0
    assert done.stderr.startswith("skipped: ")
    assert "broken.jpg is not an image" in done.stderr
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["red.png"]
    assert "broken.jpg" in refused(nanogfl("detect", MODEL, red_picture.parent, "--save", "out", "--strict"))


def test_what_is_not_read_of_an_image_is_a_line_beside_the_result(nanogfl, tmp_path):
    counts = np.random.default_rng(0).integers(0, 4096, (64, 96)).astype(np.uint16)
    (tmp_path / "dark.png").write_bytes(cv2.imencode(".png", counts)[1].tobytes())
    done = nanogfl("detect", MODEL, "dark.png", "--json", "found.json")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("note: dark.png: ")
    assert "6.2% of the range" in line


def test_a_source_that_cannot_be_read_is_one_line(nanogfl, tmp_path):
    (tmp_path / "photo.jpg").write_text("I am a text")
    (tmp_path / "empty").mkdir()
    for source, words in (
        ("photo.jpg", "photo.jpg is not an image"),
        ("empty", "folder empty has no images"),
        ("nowhere.mp4", "source nowhere.mp4 does not exist"),
    ):
        assert words in refused(nanogfl("detect", MODEL, source, "--json", "found.json"))
    assert not list(tmp_path.glob("found*"))


@pytest.mark.parametrize(("source", "words"), [("97", "no camera 97: "), ("film.mp4", "film.mp4 is no video")])
def test_a_capture_that_fails_is_one_line_without_those_of_its_library(tmp_path, source, words):
    (tmp_path / "film.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + b"junk" * 99)
    assert words in refused(process(tmp_path, "detect", MODEL, source))


@pytest.mark.parametrize("command", [("detect", "M", "97"), ("bench", "M"), ("info", "M"), ("explain", "M", "x.png")])
def test_a_model_that_is_none_is_one_line_for_every_command(nanogfl, tmp_path, command):
    (tmp_path / "text.onnx").write_text("I am a text")
    (tmp_path / "foreign.onnx").write_bytes(MODEL.read_bytes().replace(b"nanogfl", b"another"))
    for name, words in (
        ("missing.onnx", "does not exist"),
        ("text.onnx", "is not an .onnx"),
        ("foreign.onnx", "an .onnx that is not ours"),
    ):
        assert words in refused(nanogfl(*[name if part == "M" else part for part in command]))


def test_saving_over_the_source_is_refused(nanogfl, red_picture):
    before = red_picture.read_bytes()
    assert "would replace the source" in refused(nanogfl("detect", MODEL, red_picture.parent, "--save", "pictures"))
    assert red_picture.read_bytes() == before


def test_a_video_becomes_a_video(nanogfl, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (96, 64))
    for _ in range(4):
        writer.write(np.full((64, 96, 3), (0, 0, 255), np.uint8))
    writer.release()
    done = nanogfl("detect", MODEL, "clip.avi", "--no-window")
    assert done.stdout.splitlines()[-1].startswith("4 frames; red 24; median ")
    capture = cv2.VideoCapture(str(tmp_path / "runs/detect/clip.mp4"))
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (4, 10)


def test_info_says_what_a_client_must_know(nanogfl):
    done = nanogfl("info", MODEL)
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("blue, green, red", "H = 64, W = 96", "BGR", "uint8 (B, H, W, 3)", "letterbox", "score > 0.05"):
        assert words in done.stdout
    assert "output labels" in done.stdout


@pytest.mark.parametrize("command", [("detect", MODEL, "x.png"), ("explain", MODEL, "x.png")])
def test_a_threshold_that_is_no_number_is_refused(nanogfl, command):
    assert "nan" in refused(nanogfl(*command, "--threshold", "nan"))


def test_pictures_keep_their_names_apart(nanogfl, red_picture, tmp_path):
    for name in ("a#1.png", "a_1.png", "a b.png"):
        (red_picture.parent / name).write_bytes(red_picture.read_bytes())
    assert nanogfl("detect", MODEL, red_picture.parent, "--save", "out").returncode == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a b.png", "a#1.png", "a_1.png", "red.png"]


@pytest.mark.parametrize("place", ["out.webm", "out.json", "out.onnx"])
def test_a_kind_of_file_that_is_not_written_is_refused_and_no_folder_made(nanogfl, red_picture, tmp_path, place):
    assert place in refused(nanogfl("detect", MODEL, red_picture, "--save", place))
    assert not (tmp_path / place).exists()


@pytest.mark.parametrize("option", ["--save", "--json"])
def test_a_picture_whose_name_is_not_utf_8_is_detected_in(nanogfl, red_picture, tmp_path, option):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        red_picture.rename(red_picture.parent / name)
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    done = nanogfl("detect", MODEL, red_picture.parent, option, "out.json" if option == "--json" else "out")
    assert done.returncode == 0, done.stderr
    if option == "--json":
        assert json.loads((tmp_path / "out.json").read_text())[0]["source"] == name
    else:
        assert [file.name for file in (tmp_path / "out").iterdir()] == [name]


def test_a_video_that_ends_early_keeps_its_results_and_ends_with_the_reason(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "cut.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (96, 64))
    for _ in range(24):
        writer.write(np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8))
    writer.release()
    content = (tmp_path / "cut.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    # in processes of their own, where FFmpeg's lines are kept from stderr
    done = process(tmp_path, "detect", MODEL, "cut.avi", "--json", "found.json", "--save", "out.mkv")
    assert done.returncode == 2
    assert "24" in done.stderr.splitlines()[-1]
    count = len(json.loads((tmp_path / "found.json").read_text()))
    assert 5 < count < 20
    assert done.stdout.startswith(f"{count} frames; ")
    assert "24" in refused(process(tmp_path, "detect", MODEL, "cut.avi", "--json", "strict.json", "--strict"))
    assert not (tmp_path / "strict.json").exists()


@pytest.mark.parametrize("said", [b'{"box": [1, 2]}', b'{"box": null}', b'{"macs": 1e999}', b'{"macs": true}'])
def test_info_and_bench_read_a_card_that_says_odd_things_of_its_source(nanogfl, tmp_path, said):
    old = b'{"made by": "tests/golden/make_blank.py"}'
    content = MODEL.read_bytes().replace(old, said.ljust(len(old)))
    assert content != MODEL.read_bytes()
    (tmp_path / "odd.onnx").write_bytes(content)
    assert nanogfl("info", "odd.onnx").returncode == 0
    assert nanogfl("bench", "odd.onnx", "--rounds", "1", "--cold", "0").returncode == 0
