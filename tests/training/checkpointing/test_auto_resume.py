"""--resume auto: what restarts a training by itself needs one command, for its first start and for every other."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from nanogfl.api.training import default_run_dir
from nanogfl.cli.main import nanogfl
from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.training import loop
from nanogfl.training.loop import train
from tests.training.checkpointing.test_resume import cut_off
from tests.training.test_loop import PowerCut, fingerprint


@pytest.fixture
def short(tiny: Config) -> Config:
    keys = {"epochs": 2, "batch_size": 4, "eval_every": 2, "precision": "fp32", "save_every": 0.0}
    return replace(tiny, train=replace(tiny.train, **keys))


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_save_pictures", lambda *_: None)


def test_one_call_starts_goes_on_and_ends(short, tmp_path, monkeypatch):
    train(short, tmp_path / "whole")
    monkeypatch.setattr("tests.training.checkpointing.test_resume.has_state", lambda _: "auto")
    for done in (0, 1, 3):  # before anything is saved; within each epoch
        cut_off(short, tmp_path / "run", done, monkeypatch)
    train(short, tmp_path / "run", resume="auto")
    assert fingerprint(tmp_path / "run") == fingerprint(tmp_path / "whole")
    train(short, tmp_path / "run", resume="auto")  # once more, when it is done
    assert fingerprint(tmp_path / "run") == fingerprint(tmp_path / "whole")


def test_it_takes_the_file_before_a_broken_one_and_never_starts_over_two_broken_ones(short, tmp_path, monkeypatch):
    cut_off(short, tmp_path / "run", 2, monkeypatch)
    last, previous = tmp_path / "run/last.pt", tmp_path / "run/previous.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_epoch", lambda *_: (_ for _ in ()).throw(PowerCut()))
        with pytest.raises(PowerCut):
            train(short, tmp_path / "run", resume="auto")
    assert (tmp_path / "run/damaged.pt").exists()
    previous.write_bytes(b"")
    with pytest.raises(UserError, match="nothing can be resumed"):
        train(short, tmp_path / "run", resume="auto")


@pytest.mark.parametrize(
    ("words", "resume"),
    [
        (["CONFIG"], False),
        (["CONFIG", "--resume"], True),
        (["--resume", "CONFIG"], True),
        (["--resume", "CONFIG", "--set", "train.epochs=1"], True),
        (["CONFIG", "--resume", "auto"], "auto"),
        (["--resume", "auto", "CONFIG"], "auto"),
        (["CONFIG", "--resume=auto"], "auto"),
    ],
)
def test_the_option_has_a_value_or_none(tmp_path, monkeypatch, words, resume):
    path, seen = tmp_path / "c.yaml", []
    path.write_text("")
    monkeypatch.setattr(loop, "train", lambda config, folder, resume, **rest: seen.append(resume) or "done")
    result = CliRunner().invoke(nanogfl, ["train", *(str(path) if word == "CONFIG" else word for word in words)])
    assert result.exit_code == 0 or seen, result.output
    assert seen == [resume]


def test_without_a_folder_it_takes_the_one_of_its_first_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/my").mkdir(parents=True)  # killed before anything was saved
    assert default_run_dir("my", True) == Path("runs/my")
    assert default_run_dir("my", False) == Path("runs/my-2")
    (tmp_path / "runs/my/last.pt").write_bytes(b"")
    assert default_run_dir("my", True) == Path("runs/my")
