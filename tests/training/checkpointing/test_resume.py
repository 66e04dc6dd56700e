"""Going on within an epoch, from damaged files and after a full disk; who may train into a run folder."""

import errno
import json
import os
import resource
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nanogfl.config import AugmentConfig, Config, LossConfig
from nanogfl.data.loader import Loader
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.training import loop
from nanogfl.training.checkpointing.run_dir import has_state, locked
from nanogfl.training.checkpointing.saved import load_last, read_saved
from nanogfl.training.datasets import load_data
from nanogfl.training.loop import train
from nanogfl.training.step import TrainStep
from tests.thinned import thinned
from tests.training.test_loop import PowerCut, fingerprint

MIXED = AugmentConfig(mosaic=0.5, mixup=0.5, copy_paste=0.5)
VARIANTS = {
    "eqfl, mosaic and mixup": (LossConfig(classification="eqfl"), MIXED, {"precision": "fp32"}),
    "assisted, in bf16, by sgd": (
        LossConfig(assigner="dsla", assist=True, assist_channels=32),
        AugmentConfig(),
        {"precision": "bf16", "optimizer": "sgd", "lr": 0.01},
    ),
}


def with_train(config: Config, **keys: object) -> Config:
    return replace(config, train=replace(config.train, **keys))


@pytest.fixture
def short(tiny: Config) -> Config:
    """2 epochs of 3 batches: updates after batches 2 and 3 of each, saved after every one; validated at the end."""
    return with_train(
        tiny, epochs=2, batch_size=3, accumulate=2, eval_every=2, precision="fp32", save_every=0.0, warmup_steps=1
    )


def cut_off(config: Config, run_dir: Path, done: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process, going on where it can, that ends before the run's batch number `done`, counted from 0."""
    real = TrainStep.accumulate

    def failing(self, batch, number, **keys):
        if number == done:
            raise PowerCut
        real(self, batch, number, **keys)

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "accumulate", failing)
        with pytest.raises(PowerCut):
            train(config, run_dir, resume=has_state(run_dir))


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders that the first test to need them fills."""
    return tmp_path_factory.mktemp("templates")


@pytest.fixture
def stopped(short: Config, templates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """last.pt: two batches of the second epoch; previous.pt: the first epoch."""
    if not (templates / "stopped").exists():
        cut_off(short, templates / "stopped", 5, monkeypatch)
    return Path(shutil.copytree(templates / "stopped", tmp_path / "stopped"))


@pytest.fixture
def whole(short: Config, templates: Path) -> Path:
    """The uninterrupted run."""
    if not (templates / "whole").exists():
        train(short, templates / "whole")
    return templates / "whole"


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Which take longer than these trainings."""
    if "validation" not in request.node.name:
        monkeypatch.setattr(loop, "_save_pictures", lambda *_: None)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_cut_off_within_epochs_ends_as_an_uninterrupted_one_to_the_bit(short, tmp_path, monkeypatch, variant):
    loss, augment, keys = VARIANTS[variant]
    config = with_train(replace(short, loss=loss, augment=augment), **keys)
    train(config, tmp_path / "whole")
    places = []
    for done in (1, 2, 5):  # within the first group: nothing is saved; after the first update; in the second epoch
        cut_off(config, tmp_path / "cut", done, monkeypatch)
        if has_state(tmp_path / "cut"):
            training = load_checkpoint(tmp_path / "cut/last.pt").training
            places.append((training["epoch"], (training["unfinished"] or {"batches": 0})["batches"]))
        torch.rand(3)  # whatever happened in between
    assert places == [(0, 2), (1, 2)]
    train(config, tmp_path / "cut", resume=True)
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")


def test_how_often_it_is_saved_decides_only_where_it_goes_on(short, tmp_path, monkeypatch, stopped, whole):
    rarely = with_train(short, save_every=60.0)
    cut_off(rarely, tmp_path / "rarely", 5, monkeypatch)
    assert load_checkpoint(tmp_path / "rarely/last.pt").training["unfinished"] is None
    assert load_checkpoint(stopped / "last.pt").training["unfinished"]["batches"] == 2
    train(rarely, tmp_path / "rarely", resume=True)
    train(rarely, stopped, resume=True)
    assert fingerprint(stopped) == fingerprint(tmp_path / "rarely") == fingerprint(whole)


def test_the_seconds_of_an_epoch_are_those_of_all_its_parts(short, stopped):
    content = torch.load(stopped / "last.pt", weights_only=True)
    content["training"]["unfinished"] |= {"seconds": 1000.0, "waited": 900.0}
    torch.save(content, stopped / "last.pt")
    train(short, stopped, resume=True)
    first, second = (json.loads(line) for line in (stopped / "log.jsonl").read_text().splitlines())
    assert first["seconds"] < 1000 < second["seconds"] < 1100
    assert 0.8 < second["waiting"] < 1
    assert second["images_per_second"] == pytest.approx(9 / second["seconds"])


def test_after_a_kill_in_the_validation_only_that_is_repeated(short, tmp_path, monkeypatch):
    config = with_train(short, epochs=1, eval_every=1, save_every=60.0)
    train(config, tmp_path / "whole")

    def failing(*_, **__):
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(loop, "validate", failing)
        with pytest.raises(PowerCut):
            train(config, tmp_path / "cut")
    assert not (tmp_path / "cut/best.pt").exists()
    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "accumulate", failing)
        train(config, tmp_path / "cut", resume=True)
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")
    assert (tmp_path / "cut/best.pt").is_file()
    for name in ("log.jsonl", "curves.png", "validation.png"):  # a kill may have come before them
        (tmp_path / "cut" / name).unlink()
    train(config, tmp_path / "cut", resume=True)
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("cut", "whole")]
    assert names[0] == names[1]


def test_a_stream_begins_within_an_epoch(short):
    data = load_data(short)
    for workers in (0, 2):
        config = replace(short, data=replace(short.data, workers=workers), augment=MIXED)
        loader = Loader(data.train, config, data.train_frames)
        with closing(loader.stream(0, 2)) as whole, closing(loader.stream(0, 2, 2)) as rest:
            expected, found = list(whole)[2:], list(rest)
        assert len(expected) == len(found) == 4
        for a, b in zip(expected, found, strict=True):
            assert torch.equal(a.images, b.images)
            assert torch.equal(a.indices, b.indices)
        with closing(loader.stream(0, 1, 3)) as nothing:
            assert list(nothing) == []


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    match how:
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "one bit":
            content[len(content) // 2] ^= 8
            path.write_bytes(content)
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()


@pytest.mark.parametrize("how", thinned(["truncated", "one bit", "empty", "gone"], "one bit", "gone"))
def test_a_last_file_that_is_not_whole_gives_way_to_the_one_before(short, stopped, capsys, how):
    expected = load_checkpoint(stopped / "previous.pt").training
    assert (expected["epoch"], expected["unfinished"]) == (1, None)
    damage(stopped / "last.pt", how)
    train(with_train(short, epochs=1), stopped, resume=True)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "previous.pt" in line]
    assert "last.pt does not exist" in line if how == "gone" else "last.pt is not a nanogfl checkpoint (or it" in line
    assert line.endswith("previous.pt, after epoch 1 of 1")
    assert (stopped / "damaged.pt").exists() == (how != "gone")


@pytest.mark.slow
def test_a_run_whose_last_file_was_damaged_ends_the_same_even_when_killed_again(short, stopped, whole, monkeypatch):
    damage(stopped / "last.pt", "one bit")
    cut_off(short, stopped, 3, monkeypatch)  # before it is saved again
    assert load_checkpoint(stopped / "previous.pt").training["epoch"] == 1  # not the damaged one
    real = os.replace

    def failing(source, target):
        if Path(target).name == "last.pt":  # whatever had that name may have another one by now
            raise PowerCut
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        with pytest.raises(PowerCut):
            train(short, stopped, resume=True)
    assert load_checkpoint(stopped / "previous.pt").training["epoch"] == 1
    train(short, stopped, resume=True)
    assert fingerprint(stopped) == fingerprint(whole)


def test_two_broken_files_are_one_sentence_and_stay_as_they_are(short, stopped):
    for name in ("last.pt", "previous.pt"):
        damage(stopped / name, "truncated")
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    with pytest.raises(
        UserError, match=r"nothing can be resumed in .*last\.pt is not .*previous\.pt is not "
    ) as caught:
        train(short, stopped, resume=True)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before


def test_no_flipped_bit_goes_unnoticed(stopped, tmp_path):
    content = (stopped / "last.pt").read_bytes()
    original = load_checkpoint(stopped / "last.pt")
    random, path, noticed = np.random.default_rng(0), tmp_path / "flipped.pt", 0
    for _ in range(20):
        flipped = bytearray(content)
        flipped[random.integers(len(content))] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            found = load_checkpoint(path)
        except UserError:
            noticed += 1
            continue
        assert all(torch.equal(found.weights[name], value) for name, value in original.weights.items())
        assert found.config == original.config
    assert noticed > 10  # the others are padding


def test_a_file_of_whole_epochs_as_older_versions_wrote_it_is_resumed(short, tmp_path):
    train(with_train(short, epochs=1), tmp_path / "run")
    content = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert content["training"].pop("unfinished") is None
    del content["config"]["train"]["save_every"]
    torch.save(content, tmp_path / "run/last.pt")
    (tmp_path / "run/previous.pt").unlink()
    train(short, tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run/last.pt").training["epoch"] == 2


def test_an_epoch_cannot_be_finished_with_other_batches(short, stopped):
    for keys in ({"batch_size": 4}, {"accumulate": 3}):
        with pytest.raises(UserError, match=r"middle of an epoch of 3 batches of 3, accumulated by 2, now it is"):
            train(with_train(short, **keys), stopped, resume=True)
    data = load_data(short)
    assert load_last(stopped, short, data, 3).complaint is None
    with pytest.raises(UserError, match="now it is 4 of 3 by 2"):
        load_last(stopped, short, data, 4)


def test_a_new_run_never_overwrites_one(short, stopped):
    before = fingerprint(stopped)
    with pytest.raises(UserError, match="already holds a run: give --resume"):
        train(short, stopped)
    assert fingerprint(stopped) == before
    (stopped / "last.pt").unlink()
    with pytest.raises(UserError, match="already holds a run"):
        train(short, stopped)


@pytest.mark.parametrize("fault", thinned(["write", "sync"], "write"))
def test_a_full_disk_keeps_the_files_and_says_how_to_go_on(short, stopped, whole, monkeypatch, fault):
    before = {name: (stopped / name).read_bytes() for name in ("last.pt", "previous.pt")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    real = TrainStep.update

    def full(self, *arguments):
        if fault == "write":  # a file that may not grow is what a full disk is to its writer
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        else:
            monkeypatch.setattr(os, "fsync", no_space)
        real(self, *arguments)

    def no_space(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(TrainStep, "update", full)
    try:
        with pytest.raises(UserError) as caught:
            train(short, stopped, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        monkeypatch.undo()
    assert str(caught.value).startswith(f"{stopped / 'last.pt'} cannot be written: ")
    assert str(caught.value).endswith(f"with: nanogfl train {stopped / 'config.yaml'} --run-dir {stopped} --resume")
    assert {name: (stopped / name).read_bytes() for name in before} == before
    assert not list(stopped.glob(".*"))
    train(short, stopped, resume=True)
    assert fingerprint(stopped) == fingerprint(whole)


def test_two_trainings_never_share_a_run_folder(short, stopped):
    with locked(stopped), pytest.raises(UserError, match=rf"process {os.getpid()} on .* trains into {stopped} at this"):
        train(short, stopped, resume=True)
    assert not (stopped / "train.lock").exists()
    (stopped / "train.lock").write_text("process 1 on moon, which died")
    with locked(stopped):
        assert f"process {os.getpid()} on " in (stopped / "train.lock").read_text()
    assert read_saved(stopped).complaint is None


def test_what_a_kill_left_half_written_goes_with_the_next_start(short, stopped):
    shutil.copy(stopped / "last.pt", stopped / ".last.pt.1.part")
    (stopped / ".log.jsonl.1.part").write_text("{")
    (stopped / ".notes-of-mine.txt").write_text("kept")
    train(with_train(short, epochs=2), stopped, resume=True)
    assert [path.name for path in stopped.glob(".*")] == [".notes-of-mine.txt"]


def test_numbers_that_are_none_are_never_saved(short, tmp_path, monkeypatch):
    real = TrainStep.accumulate

    def failing(self, batch, number, **keys):
        real(self, batch, number, **keys)
        if number == 4:
            self._watch(torch.tensor(float("nan")), number)

    monkeypatch.setattr(TrainStep, "accumulate", failing)
    with pytest.raises(UserError, match=r"no longer a finite number at step 4 .* what was saved last with --resume"):
        train(short, tmp_path / "run")
    training = load_checkpoint(tmp_path / "run/last.pt").training
    assert (training["epoch"], training["unfinished"]) == (1, None)
