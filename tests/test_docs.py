"""What the README and the pages show is run, parsed or found here."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import cv2
import numpy as np
import pytest
import yaml

from nanogfl.cli.main import nanogfl
from nanogfl.config import Config
from nanogfl.data.synthetic.dataset import draw_dataset, draw_image
from nanogfl.recipe import load_config
from nanogfl_deploy import Detector

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "embedded.onnx"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "<!-- test: program.py -->\n"

TINY = """
data: {root: datasets/mine}
model:
  input: {hw: [96, 128]}
  backbone: {width: 0.5x}
  neck: {channels: 32, extra_level: false}
  head: {prior: 0.5}  # untrained, but it finds something
train: {epochs: 1, batch_size: 4}
"""


class Block(NamedTuple):
    page: Path
    language: str
    text: str
    runs: bool = True
    """it needs nothing but what a reader has: a recipe, its data set, a model and a photo"""

    def __str__(self) -> str:
        return f"{self.page.stem}: {next(iter(self.text.splitlines()), '')}"


def blocks(language: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            if match[1] == language:
                found.append(Block(page, language, match[2], not text[: match.start()].endswith(MARK)))
    return found


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


# Python ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with what the pages' examples name."""
    folder = tmp_path_factory.mktemp("desk")
    draw_dataset(folder / "datasets" / "mine", train=8, val=4)
    (folder / "my.yaml").write_text(TINY, encoding="utf-8")
    (folder / "best.onnx").write_bytes(GOLDEN.read_bytes())
    cv2.imwrite(str(folder / "photo.jpg"), draw_image(3, 5, (240, 320)).image)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in blocks("python") if block.runs], ids=str)
def test_a_python_block_runs_as_it_stands(block, desk, monkeypatch):
    monkeypatch.chdir(desk)
    exec(compile(block.text, str(block.page), "exec"), {"__name__": "__main__"})


def test_the_program_without_nanogfl_finds_what_the_detector_finds(tmp_path):
    (program,) = [block.text for block in blocks("python") if not block.runs]
    assert not re.search(r"^\s*(import|from) nanogfl", program, re.MULTILINE)
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


# Commands -------------------------------------------------------------------------------------------------------


def command_lines() -> list[str]:
    """Each line of the shell blocks once, without its comment."""
    lines = (line for block in blocks("sh") for line in block.text.replace("\\\n", " ").splitlines())
    return sorted({line.strip() for line in lines if line.strip()})


def settings_of(words: list[str]) -> list[str]:
    """Parses nanogfl's words after the program's name -> the values of --set."""
    command: click.Command = nanogfl
    context = click.Context(command, info_name="nanogfl")
    while isinstance(command, click.Group) and (words or not command.invoke_without_command):
        found = command.get_command(context, words[0])
        assert found is not None, f"no command {words[0]!r}"
        command, words = found, words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    options, rest, _ = command.make_parser(context).parse_args(words)
    assert not rest, rest
    missing = [p.name for p in command.params if p.required and not options.get(p.name)]
    assert not missing, f"{command.name} needs {missing}"
    return [value for p in command.params if "--set" in p.opts for value in options.get(p.name) or ()]


@pytest.mark.parametrize("line", [line for line in command_lines() if "nanogfl " in line.split("#")[0]])
def test_a_nanogfl_command_of_the_pages_parses_and_its_settings_are_keys(line):
    words = shlex.split(line[line.index("nanogfl ") :], comments=True)  # torchrun ... -m nanogfl, too
    for setting in settings_of(words[1:]):
        assert is_key(setting.split("=")[0]), setting


@pytest.mark.parametrize("line", [line for line in command_lines() if line.startswith(("make ", "python "))])
def test_a_make_target_or_script_of_the_pages_exists(line):
    program, name = shlex.split(line, comments=True)[:2]
    if program == "make":
        result = subprocess.run(["make", "--dry-run", name], cwd=ROOT, capture_output=True, text=True)
        assert "No rule to make target" not in result.stderr, result.stderr
    elif name.endswith(".py"):
        assert (ROOT / name).is_file() or name == "program.py"


# Settings, links, files -----------------------------------------------------------------------------------------


def is_key(path: str) -> bool:
    value: object = Config().to_dict()
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_recipe_of_the_pages_loads(block, tmp_path):
    (tmp_path / "recipe.yaml").write_text(block.text, encoding="utf-8")
    assert load_config(tmp_path / "recipe.yaml").to_dict() != Config().to_dict()
    assert isinstance(yaml.safe_load(block.text), dict)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_setting_that_a_page_names_is_a_key(page):
    named = set(re.findall(r"`((?:model|data|augment|loss|train|distill)(?:\.[a-z_]\w*)+)(?:[=:][^`]*)?`", prose(page)))
    files = {name for name in named if name.endswith((".yaml", ".json"))}
    assert not {key for key in named - files if not is_key(key)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_relative_link_and_named_file_exists(page):
    text = prose(page)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    relative = [target for target in targets if "://" not in target]
    named = re.findall(r"`((?:nanogfl|export|deploy|configs|tests|benchmarks|docs)/[\w./-]+)`", text)
    missing = [target for target in relative if not (page.parent / target).exists()]
    missing += [path for path in named if not (ROOT / path).exists()]
    assert not missing


def test_the_readmes_pictures_are_small():
    for name in ("boxes.jpg", "spread.jpg"):
        assert (ROOT / "docs" / "images" / name).stat().st_size < 150_000
