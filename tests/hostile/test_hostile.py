"""Hostile files: each ends its command with one sentence and exit code 2, and leaves nothing behind."""

import os
import pickle
import re
import sys
from pathlib import Path

import cv2
import pytest

from nanogfl.cli.main import main
from tests.hostile.annotations import ANNOTATIONS
from tests.hostile.bad import Bad
from tests.hostile.checkpoints import CHECKPOINTS, plain_pickle
from tests.hostile.configs import CONFIGS
from tests.hostile.images import IMAGES
from tests.hostile.onnx_files import ONNX_FILES

pytestmark = pytest.mark.slow  # all together longer than make check may take

FILES = [*CONFIGS, *ANNOTATIONS, *IMAGES, *CHECKPOINTS, *ONNX_FILES]
COMMANDS = {"train", "eval", "export", "detect", "bench", "info", "explain", "ablate", "import-nanodet", "models"}
DATA = {"check", "show", "convert", "draw"}

# Decoding libraries write these to stderr themselves, and have no switch for it.
_LIBRARIES = re.compile(r"(?!nanogfl: )(libpng (error|warning)|Corrupt JPEG data|Premature end of JPEG|.*TIFF.*: )")


@pytest.fixture(autouse=True)
def _quiet_opencv():
    """As `main` sets it by OPENCV_LOG_LEVEL, which OpenCV reads once, when it is loaded."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    yield
    cv2.utils.logging.setLogLevel(level)


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("bad", FILES, ids=[bad.name for bad in FILES])
def test_it_is_one_sentence_and_leaves_nothing_behind(bad: Bad, tmp_path, monkeypatch, capfd):
    arguments = bad.build(tmp_path)
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["nanogfl", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = [line for line in capfd.readouterr().err.splitlines() if not _LIBRARIES.match(line)]
    assert len(printed) == 1, printed
    assert ended.value.code == 2
    assert printed[0].startswith("nanogfl: ")
    assert re.search(bad.sentence, printed[0]), printed[0]
    assert len(printed[0]) < 2100
    assert printed[0].isprintable()
    assert contents(tmp_path) == before


def test_the_commands_among_them_run_where_nothing_refuses_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain_pickle(tmp_path / "trap.pkl")
    pickle.loads((tmp_path / "trap.pkl").read_bytes())
    assert (tmp_path / "executed").exists()


def test_every_command_is_given_a_hostile_file():
    assert {bad.command.split()[0] for bad in FILES} == COMMANDS | {"data"}
    assert {bad.command.split()[1] for bad in FILES if bad.command.startswith("data ")} == DATA


def test_the_good_files_beside_them_are_accepted(tmp_path, monkeypatch, capsys):
    for command in ("info best.pt", "info model.onnx", "data convert data/train.json data/train -o out.json"):
        arguments = Bad("", command, "", {}).build(tmp_path)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["nanogfl", *arguments])
        main()
    assert "1 images, 1 boxes of 1 classes" in capsys.readouterr().out
    assert os.listdir(tmp_path / "data/train") == ["a.png"]
