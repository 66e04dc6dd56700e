"""`nanogfl data draw`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from nanogfl.cli.data import data
from tests.commands import nanogfl, refused


def test_draw_writes_the_data_set_and_says_what_it_holds(tmp_path: Path):
    folder = tmp_path / "shapes"
    result = CliRunner().invoke(data, ["draw", str(folder), "--train", "12", "--val", "3", "--seed", "1"])
    assert result.exit_code == 0, result.output
    content = json.loads((folder / "train.json").read_text())
    empty = [
        image["id"]
        for image in content["images"]
        if not any(annotation["image_id"] == image["id"] for annotation in content["annotations"])
    ]
    assert f"12 images ({len(empty)} without objects), {len(content['annotations'])} boxes" in result.output
    assert "3 images" in result.output
    for name in ("disc", "rectangle", "triangle", "star", "ring", "cross"):
        assert f" {name}" in result.output
    assert "nanogfl train" in result.output
    assert "\r" not in result.output  # no progress bar where nobody watches


def test_drawing_again_says_that_it_is_there_already(tmp_path: Path):
    arguments = ["draw", str(tmp_path / "shapes"), "--train", "2", "--val", "1"]
    first, second = (CliRunner().invoke(data, arguments) for _ in range(2))
    assert first.output.startswith("drew")
    assert second.output.startswith("already there")
    assert first.output.splitlines()[1:] == second.output.splitlines()[1:]


def test_a_foreign_folder_is_one_sentence_and_exit_code_2(tmp_path: Path):
    (tmp_path / "photo.jpg").write_text("mine")
    assert refused(nanogfl(tmp_path, "data", "draw", tmp_path)).startswith("nanogfl: ")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("arguments", [["--train", "0"], ["--val", "-1"], ["--seed", "-1"], ["--train", "many"]])
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path: Path, arguments: list[str]):
    result = CliRunner().invoke(data, ["draw", str(tmp_path / "new"), *arguments])
    assert result.exit_code == 2
    assert arguments[0] in result.output
    assert not (tmp_path / "new").exists()


def test_help_imports_neither_numpy_nor_opencv():
    program = (
        "import sys; from nanogfl.cli.data import data; data(['draw', '--help'], standalone_mode=False);"
        "assert not {'numpy', 'cv2'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "COCO" in result.stdout


def test_a_long_tail_is_drawn_and_its_frequencies_are_shown(tmp_path: Path):
    folder = tmp_path / "tail"
    result = CliRunner().invoke(data, ["draw", str(folder), "--train", "20", "--val", "2", "--long-tail", "50"])
    assert result.exit_code == 0, result.output
    shown = next(line for line in result.output.splitlines() if " red disc" in line)
    counts = [int(part.split()[0]) for part in shown.split(", ")]
    assert len(counts) == 24
    assert sum(counts[:6]) > 2 * sum(counts[-12:])
    refused = CliRunner().invoke(data, ["draw", str(tmp_path / "new"), "--long-tail", "0"])
    assert refused.exit_code == 2
    assert "--long-tail" in refused.output
