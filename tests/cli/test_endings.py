"""Commands whose output is not read, whose output lacks a character, and that are told to end."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
import yaml

from nanogfl.cli.main import main
from nanogfl.config import BackboneConfig, Config, DataConfig, HeadConfig, ModelConfig, NeckConfig, TrainConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.synthetic.dataset import draw_dataset
from nanogfl.errors import STOP_SIGNALS
from nanogfl.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nanogfl.model.detector import build_detector
from tests.commands import PATHS
from tests.thinned import thinned

COMMANDS = {
    "help": ["--help"],
    "info": ["info", "m.pt"],
    "data check": ["data", "check", "r.yaml", "-o", "check"],
    "data convert": ["data", "convert", "data/val.json", "data/val", "-o", "converted.json"],
    "eval": ["eval", "m.pt", "--data", "data/val.json", "--images", "data/val", "--json", "figures.json"],
    "detect": ["detect", "m.pt", "data/val", "--threshold", "0", "--save", "shown", "--no-window"],
    "train": ["train", "r.yaml", "--run-dir", "run"],
    "ablate": ["ablate", "a.yaml", "--out", "ablation"],
}
LEAVES = {
    "data check": "check/check.json",
    "data convert": "converted.json",
    "eval": "figures.json",
    "train": "run/validation.png",
    "ablate": "ablation/ablation.md",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose classes have names that few encodings know, a recipe and an ablation of it, and a checkpoint."""
    tmp_path = tmp_path_factory.mktemp("made")
    draw_dataset(tmp_path / "data", train=5, val=2, hw=(64, 96))
    for split in ("train", "val"):
        path = tmp_path / f"data/{split}.json"
        content = json.loads(path.read_text())
        for category, name in zip(content["categories"], ("caf\u00e9 \u0436", "\u2713 \u017d", "plain"), strict=False):
            category["name"] = name
        path.write_text(json.dumps(content))
    names = tuple(category["name"] for category in content["categories"])
    ids = tuple(category["id"] for category in content["categories"])
    model = ModelConfig(
        InputSpec((64, 96)),
        "relu",
        BackboneConfig("0.5x"),
        NeckConfig(channels=16),
        HeadConfig(convs=1, kernel=3, prior=0.2),
    )
    train = TrainConfig(epochs=2, batch_size=4, eval_every=1, device="cpu", threads=1, precision="fp32")
    config = Config(model, DataConfig("data", workers=0, cache="memory"), train=train)
    detector = build_detector(model, len(names))
    save_checkpoint(tmp_path / "m.pt", Checkpoint(config, names, ids, detector.state_dict(), {}, None))
    recipe = config.to_dict()
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    for key in ("epochs", "seed"):
        del recipe["train"][key]
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "a.yaml").write_text("base: base.yaml\nseeds: [0]\nbudget: {epochs: 1}\nrows: {a: {}}\n")
    return tmp_path


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shutil.copytree(made, tmp_path / "folder")
    monkeypatch.chdir(folder)
    return folder


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`nanogfl` is ours; the exit code is the first command's of a pipe."""
    return subprocess.run(
        ["bash", "-c", f'nanogfl() {{ "{sys.executable}" -m nanogfl "$@"; }}; {line}; exit "${{PIPESTATUS[0]}}"'],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": PATHS, **environment},
    )


BY_DEFAULT = {("train", "| true"), ("eval", "> /dev/full")}
ENDINGS = {
    "| true": (0, "Broken pipe"),  # a reader that ends before the first line
    "> /dev/full": (2, "No space left"),
    ">&-": (0, ""),
    ">&- 2>&-": (0, ""),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is Linux' /dev/full")
@pytest.mark.parametrize(
    ("command", "ending"),
    [
        pytest.param(
            command,
            ending,
            marks=[]
            if command == "help"
            else [pytest.mark.slow, *([] if (command, ending) in BY_DEFAULT else [pytest.mark.exhaustive])],
        )
        for command in COMMANDS
        for ending in (ENDINGS if command in ("help", "train") else ("| true", "> /dev/full"))
    ],
)
def test_a_command_completes_without_a_reader(folder, command, ending):
    code, said = ENDINGS[ending]
    done = shell(f"nanogfl {' '.join(COMMANDS[command])} {ending}", folder)
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if "can no longer be written" in line]
    assert len(lines) == bool(said)
    assert said in "".join(lines)
    assert "Traceback" not in done.stderr
    if command in LEAVES:
        assert (folder / LEAVES[command]).exists()
    if command == "train":
        assert load_checkpoint(folder / "run/last.pt").training["epoch"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "encoding"),
    thinned([*((name, "cp1252") for name in COMMANDS), ("info", "ascii"), ("train", "ascii")], ("train", "cp1252")),
)
def test_a_command_completes_in_an_encoding_that_lacks_characters(folder, command, encoding):
    done = shell(f"nanogfl {' '.join(COMMANDS[command])}", folder, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_an_error_escapes_characters_that_the_encoding_lacks(folder):
    done = shell("nanogfl info 'caf\u00e9 \u0436.pt'", folder, PYTHONIOENCODING="latin-1")
    assert done.returncode == 2
    assert "\\u0436.pt" in done.stderr


# Told to end ---------------------------------------------------------------------------------------------------


@pytest.fixture
def _signals_are_heard():
    """However the tests were started: a background job ignores Ctrl-C, nohup a closed terminal."""
    usual = dict.fromkeys(STOP_SIGNALS, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


WRITING = {
    **{name: COMMANDS[name] for name in ("data check", "data convert", "eval", "detect", "train", "ablate")},
    "data draw": ["data", "draw", "drawn", "--train", "3", "--val", "2"],
    "data show": ["data", "show", "r.yaml", "-o", "sheet.png", "--images", "2"],
    "explain": ["explain", "m.pt", "data/val/1000000.jpg", "-o", "explained.png", "--threshold", "0"],
    "import-nanodet": ["import-nanodet", "nanodet.pth", "-o", "imported.pt"],
    "export": ["export", "m.pt", "-o", "m.onnx"],
}


@pytest.mark.usefixtures("_signals_are_heard")
@pytest.mark.parametrize(
    ("command", "number"),
    [
        *thinned(
            product((command for command in WRITING if command != "export"), STOP_SIGNALS),
            *((command, signal.SIGTERM) for command in WRITING if command != "export"),
            ("data convert", signal.SIGINT),
        ),
        pytest.param("export", signal.SIGTERM, marks=[pytest.mark.slow, pytest.mark.exhaustive]),  # seconds of tracing
    ],
)
def test_a_signal_in_the_middle_of_writing_leaves_nothing_half_written(folder, monkeypatch, capsys, command, number):
    if command == "import-nanodet":
        from tests.nanodet_reference import random_tensors, shapes

        torch.save(
            {"state_dict": {f"model.{k}": v for k, v in random_tensors(shapes("nanodet-m-0.5x", 80)).items()}},
            folder / "nanodet.pth",
        )
    before = {path.relative_to(folder) for path in folder.rglob("*")}
    replace = os.replace

    def replace_in_the_middle(*paths):
        os.kill(os.getpid(), number)
        replace(*paths)  # detect finishes the picture that it is at

    monkeypatch.setattr(os, "replace", replace_in_the_middle)
    monkeypatch.setattr(sys, "argv", ["nanogfl", *WRITING[command]])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 128 + number
    said = capsys.readouterr().err
    assert said.count("stopped") == 1
    assert "Traceback" not in said
    left = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} - before
    assert not [path for path in left if path.name.startswith(".") or path.suffix in (".part", ".lock")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_so_and_handlers_are_put_back(monkeypatch, number):
    for before in (signal.SIG_IGN, signal.SIG_DFL):
        old = signal.signal(number, before)
        try:
            monkeypatch.setattr(sys, "argv", ["nanogfl", "--help"])
            main()
            assert signal.getsignal(number) == before
        finally:
            signal.signal(number, old)
