"""What README shows is run here."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanogfl.data.synthetic.dataset import draw_image
from nanogfl_deploy import Detector

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GOLDEN = ROOT / "tests" / "golden" / "embedded.onnx"


def test_the_device_program_of_the_readme_finds_what_the_detector_finds(tmp_path):
    program = re.search(r"tests/test_readme.py runs this block -->\n```python\n(.*?)```", README, re.DOTALL).group(1)
    assert "nanogfl_deploy" not in program
    assert len(program.splitlines()) <= 28
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    frame = draw_image(3, 5, (240, 320)).image
    cv2.imwrite(str(tmp_path / "in.png"), frame)
    result = subprocess.run(
        [sys.executable, "program.py", str(GOLDEN), "in.png", "out.png"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    detections = Detector(GOLDEN)(frame).above(0.4)
    lines = result.stdout.splitlines()
    assert len(lines) == len(detections) > 0
    for line, box, score, label in zip(lines, detections.boxes, detections.scores, detections.labels, strict=True):
        name, shown, *numbers = line.replace("[", "").replace("]", "").replace(",", "").split()
        assert name == Detector(GOLDEN).class_names[label]
        assert float(shown) == pytest.approx(score, abs=0.006)
        np.testing.assert_allclose([float(n) for n in numbers], box, atol=6)  # the program does not clip to the frame
    assert (cv2.imread(str(tmp_path / "out.png")) != frame).any()


def test_every_command_that_the_readme_names_exists_and_helps_quickly_enough_to_be_asked():
    named = set(re.findall(r"^nanogfl ((?:data )?[\w-]+)", README, re.MULTILINE))
    assert {"train", "eval", "export", "detect", "bench", "info"} <= named
    for command in named:
        result = subprocess.run(
            [sys.executable, "-m", "nanogfl", *command.split(), "--help"], capture_output=True, text=True, check=True
        )
        assert len(result.stdout.splitlines()) > 8


def test_the_options_that_the_readme_shows_exist():
    for command, rest in re.findall(r"^nanogfl ((?:data )?[\w-]+)(.*)$", README, re.MULTILINE):
        shown = set(re.findall(r"--[\w-]+", rest))
        result = subprocess.run(
            [sys.executable, "-m", "nanogfl", *command.split(), "--help"], capture_output=True, text=True
        )
        missing = {option for option in shown if option not in result.stdout}
        assert not missing, f"nanogfl {command} has no {missing}"


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make (\w+)`?", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_ci_runs_exactly_the_readmes_test_command():
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line and line[0] not in "#"]
    assert commands[-1] == "make test"
