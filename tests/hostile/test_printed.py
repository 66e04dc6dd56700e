"""Names from untrusted files are printed so that the terminal does not obey them."""

import json
import sys
from pathlib import Path

import pytest

from nanogfl.cli.main import main
from nanogfl.io.printable import printable, shortened
from tests.hostile.bad import Bad, checkpoint_content, coco, saved
from tests.hostile.onnx_files import with_card

EVIL = "\x1b]0;owned\x07\x9b2J\ncat\u202e"
SHOWN = "\\x1b]0;owned\\x07\\x9b2J\\ncat\\u202e"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hund ü, 信号, 🐈‍⬛, \u00a0", "Hund ü, 信号, 🐈‍⬛, \u00a0"),
        ("a\tb\r\n", "a\\tb\\r\\n"),
        (EVIL, SHOWN),
        ("\ud800\udcff", "\\ud800\\udcff"),
        ("\x7f\u2028\u2066", "\\x7f\\u2028\\u2066"),
    ],
)
def test_control_characters_are_escaped_and_every_script_stays(text, shown):
    assert printable(text) == shown


def test_a_long_text_keeps_its_ends():
    assert shortened("a" * 50 + "b" * 50, 20) == "a" * 10 + " [...] " + "b" * 10
    assert shortened("a" * 20, 20) == "a" * 20


def test_an_error_of_megabytes_is_shortened(tmp_path, monkeypatch, capsys):
    printed = run(f"train none.yaml --set {'a' * 100_000}", {}, tmp_path, monkeypatch, capsys, ends=True)
    assert len(printed) < 2100


CARD = {"model.onnx": with_card(classes=[EVIL, "green", "red"])}
CHECKPOINT = {"best.pt": lambda path: path.write_bytes(saved({**checkpoint_content(), "classes": [EVIL]}))}
DATA = json.dumps(coco(category={"name": EVIL}))


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("info model.onnx", CARD),
        ("info best.pt", CHECKPOINT),
        ("eval best.pt --data data/val.json --images data/val", {**CHECKPOINT, "data/val.json": DATA}),
        ("data check recipe.yaml -o out", {"data/train.json": DATA, "data/val.json": DATA}),
    ],
)
def test_a_class_name_cannot_control_the_terminal(command, files, tmp_path, monkeypatch, capsys):
    printed = run(command, files, tmp_path, monkeypatch, capsys, ends="check" in command)
    assert SHOWN in printed
    assert all(line.isprintable() for line in printed.split("\n"))


def test_class_names_cannot_control_the_terminal_in_training(capsys):
    from nanogfl.config import Config
    from nanogfl.training.reports.progress import Progress

    Progress(Config(), Path("run")).say(f"classes: {EVIL}")
    assert SHOWN.replace("\\n", "") in capsys.readouterr().out.replace("\n", "")


def test_a_file_name_that_is_not_utf_8_is_printed(tmp_path, monkeypatch, capsys):
    name = b"photo\xff.png".decode(errors="surrogateescape")
    printed = run("info model.onnx", {}, tmp_path, monkeypatch, capsys, more=[name], ends=True)
    assert "photo\\udcff.png" in printed


def run(command, files, folder, monkeypatch, capsys, *, more=(), ends=False) -> str:
    arguments = Bad("", command, "", files).build(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["nanogfl", *arguments, *more])
    if ends:
        with pytest.raises(SystemExit):
            main()
    else:
        main()
    captured = capsys.readouterr()
    return captured.out + captured.err
