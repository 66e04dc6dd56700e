"""Whole trainings, tiny: resume to the bit, the run folder, overfitting, what ends a run."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch

from nanogfl.config import Config, SplitConfig
from nanogfl.errors import UserError
from nanogfl.evaluation.coco_ap import evaluate
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.predictor import load_predictor
from nanogfl.recipe import load_config
from nanogfl.training import loop
from nanogfl.training.datasets import load_data
from nanogfl.training.loop import train
from nanogfl.training.step import TrainStep


def fingerprint(run_dir: Path) -> dict[str, str]:
    """SHA-256 over everything that is state, and what was logged."""
    checkpoint = load_checkpoint(run_dir / "last.pt")
    training = checkpoint.training

    def digest(tensors) -> str:
        sha = hashlib.sha256()
        for name, value in tensors:
            sha.update(str(name).encode())
            sha.update(value.contiguous().numpy().tobytes())
        return sha.hexdigest()

    moments = (
        (f"{p}.{key}", value) for p, state in training["optimizer"]["state"].items() for key, value in state.items()
    )
    logged = [{k: v for k, v in entry.items() if k not in TIMES} for entry in training["log"]]
    return {
        "averaged": digest(checkpoint.weights.items()),
        "trained": digest(training["detector"].items()),
        "moments": digest(moments),
        "account": digest((training["equalizer"] or {}).items()),
        "assist": digest((training["assist"] or {}).items()),
        "scaler": str(training["scaler"]),
        "log": json.dumps(logged),
    }


TIMES = {"images_per_second", "waiting", "seconds", "eval_seconds"}


class PowerCut(BaseException):
    pass


def train_until(config: Config, run_dir: Path, epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is cut off in the middle of the epoch after `epochs` whole ones."""
    real, calls = TrainStep.losses, 0
    steps = 2  # 9 images by 4

    def failing(*arguments):
        nonlocal calls
        calls += 1
        if calls > epochs * steps + 1:
            raise PowerCut
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "losses", failing)
        with pytest.raises(PowerCut):
            train(config, run_dir)


@pytest.mark.slow
def test_two_runs_are_equal_and_another_seed_is_another_run(tiny, tmp_path):
    short = replace(tiny, train=replace(tiny.train, epochs=1))
    for name in ("a", "b"):
        train(short, tmp_path / name)
    threads = replace(short, data=replace(short.data, workers=0))
    train(threads, tmp_path / "c")
    train(replace(short, train=replace(short.train, seed=1)), tmp_path / "d")
    first, *others = (fingerprint(tmp_path / name) for name in "abcd")
    assert others[0] == others[1] == first
    assert others[2]["averaged"] != first["averaged"]


def test_the_run_folder_holds_all_that_was_promised(tiny, tmp_path, capsys):
    outcome = train(tiny, tmp_path / "new" / "run")
    folder = outcome.run_dir
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["best.pt", "config.yaml", "curves.png", "last.pt", "log.jsonl", "previous.pt", "validation.png"]
    assert load_config(folder / "config.yaml") == tiny
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == [1, 2, 3, 4]
    assert [entry["step"] for entry in log] == [2, 4, 6, 8]
    assert ["ap" in entry for entry in log] == [False, True, False, True]
    assert all({"loss", "cls", "box", "side", "positives", "lr", "waiting"} <= entry.keys() for entry in log)
    for entry in log:
        expected = tiny.loss.cls * entry["cls"] + tiny.loss.box * entry["box"] + tiny.loss.side * entry["side"]
        assert entry["loss"] == pytest.approx(expected, rel=1e-4)
    for name in ("curves.png", "validation.png"):
        assert cv2.imread(str(folder / name)) is not None
    shown = capsys.readouterr().out
    assert "9 images" in shown
    assert "1 images without objects" in shown
    assert "parameters" in shown

    content = torch.load(folder / "best.pt", weights_only=True)
    assert content["classes"] == ["rectangle", "ellipse"]
    assert content["category_ids"] == [2, 7]
    best, last = load_checkpoint(folder / "best.pt"), load_checkpoint(folder / "last.pt")
    assert (best.training, best.config) == (None, tiny)
    assert best.facts["epoch"] == outcome.best_epoch
    assert last.training["epoch"] == 4
    assert (folder / "best.pt").stat().st_size < 0.5 * (folder / "last.pt").stat().st_size
    again = evaluate(load_predictor(folder / "last.pt"), load_data(tiny).val)  # the averaged weights are what is scored
    assert again.ap == outcome.report.ap
    assert [c.name for c in again.classes] == ["rectangle", "ellipse"]


def test_a_finished_run_resumes_to_its_report(tiny, tmp_path):
    short = replace(tiny, train=replace(tiny.train, epochs=1))
    first = train(short, tmp_path / "run")
    before = fingerprint(tmp_path / "run")
    again = train(short, tmp_path / "run", resume=True)
    assert again.report.ap == first.report.ap
    assert (again.best_ap, again.best_epoch) == (first.best_ap, first.best_epoch)
    assert fingerprint(tmp_path / "run") == before


def test_resuming_what_does_not_fit_is_one_sentence(tiny, tmp_path):
    with pytest.raises(UserError, match=r"last\.pt does not exist"):
        train(tiny, tmp_path / "none", resume=True)
    train(replace(tiny, train=replace(tiny.train, epochs=1)), tmp_path / "run")
    other = replace(tiny, model=replace(tiny.model, activation="leaky_relu"))
    with pytest.raises(UserError, match="another model"):
        train(other, tmp_path / "run", resume=True)
    (tmp_path / "run" / "last.pt").write_bytes((tmp_path / "run" / "best.pt").read_bytes())
    with pytest.raises(UserError, match="no state of training"):
        train(tiny, tmp_path / "run", resume=True)


def test_a_device_that_is_missing_leaves_no_run_folder(tiny, tmp_path):
    with pytest.raises(UserError, match="no device 'cuda:99'"):
        train(replace(tiny, train=replace(tiny.train, device="cuda:99")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_is_a_file_is_one_sentence(tiny, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        train(tiny, tmp_path / "run")


def test_too_few_labelled_images_end_the_run_before_the_first_epoch(tiny, draw, tmp_path):
    draw(tmp_path / "sparse", "train", 30, 0, (64, 96), 0)
    content = json.loads((tmp_path / "sparse/train.json").read_text())
    box = {"image_id": 1, "category_id": 2, "bbox": [5, 5, 20, 20], "iscrowd": 0}
    content["annotations"] = [{"id": 1, **box}]
    (tmp_path / "sparse/train.json").write_text(json.dumps(content))
    sparse = SplitConfig(str(tmp_path / "sparse/train.json"), str(tmp_path / "sparse/train"))
    config = replace(tiny, data=replace(tiny.data, train=sparse))
    with pytest.raises(UserError, match=r"only 1 of 30 images have a box.*data\.min_labelled 0\.05"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    load_data(replace(config, data=replace(config.data, min_labelled=0.03)))


@pytest.mark.slow
def test_training_ends_early_when_the_ap_no_longer_rises(tiny, tmp_path, monkeypatch, capsys):
    reports = iter([0.1, 0.3, 0.2, 0.3, 0.25, 0.9])
    real = loop.validate
    monkeypatch.setattr(
        loop, "validate", lambda *arguments, **keys: replace(real(*arguments, **keys), ap=next(reports))
    )
    patient = replace(tiny, train=replace(tiny.train, epochs=9, eval_every=1, patience=3))
    outcome = train(patient, tmp_path / "run")
    assert (outcome.best_ap, outcome.best_epoch) == (0.3, 2)  # an equal AP is no better one
    assert load_checkpoint(tmp_path / "run/last.pt").training["epoch"] == 5
    assert "no better AP for 3 evaluations" in capsys.readouterr().out
    assert train(patient, tmp_path / "run", resume=True).best_epoch == 2  # it does not go on either
    assert load_checkpoint(tmp_path / "run/last.pt").training["epoch"] == 5


def test_training_starts_only_with_classes_that_agree_and_something_to_learn(tiny, shapes, draw, tmp_path):
    content = json.loads((shapes / "val.json").read_text())
    content["categories"][0]["name"] = "square"
    (tmp_path / "renamed.json").write_text(json.dumps(content))
    renamed = SplitConfig(str(tmp_path / "renamed.json"), str(shapes / "val"))
    with pytest.raises(UserError, match=r"no class .* the model's are"):
        load_data(replace(tiny, data=replace(tiny.data, val=renamed)))
    draw(tmp_path / "empty", "train", 2, 0, (64, 96), 0)
    empty = SplitConfig(str(tmp_path / "empty/train.json"), str(tmp_path / "empty/train"))
    with pytest.raises(UserError, match="no usable box"):
        load_data(replace(tiny, data=replace(tiny.data, train=empty)))


def test_problems_of_the_data_are_listed_in_the_run_folder(tiny, shapes, tmp_path, capsys):
    content = json.loads((shapes / "train.json").read_text())
    content["annotations"][0]["bbox"] = [5, 5, 0, 5]
    content["annotations"].append({**content["annotations"][1], "id": 999})
    (tmp_path / "bad.json").write_text(json.dumps(content))
    bad = SplitConfig(str(tmp_path / "bad.json"), str(shapes / "train"))
    config = replace(tiny, data=replace(tiny.data, train=bad), train=replace(tiny.train, epochs=1))
    train(config, tmp_path / "run")
    assert "0.png, annotation 1: empty box" in (tmp_path / "run" / "data_problems.txt").read_text()
    said = capsys.readouterr().out
    assert "1 x empty box" in said
    assert "warning: 1 boxes drawn twice" in said
    assert said.index("boxes drawn twice") < said.index("epoch 1/1")
    with pytest.raises(UserError, match="empty box"):
        train(replace(config, data=replace(config.data, strict=True)), tmp_path / "strict")


def test_validation_without_objects_trains_without_ap(tiny, draw, tmp_path):
    draw(tmp_path / "empty", "val", 2, 0, (64, 96), 0)
    empty = SplitConfig(str(tmp_path / "empty/val.json"), str(tmp_path / "empty/val"))
    config = replace(tiny, data=replace(tiny.data, val=empty), train=replace(tiny.train, epochs=2))
    outcome = train(config, tmp_path / "run")
    assert outcome.report.ap is None
    assert (tmp_path / "run" / "best.pt").is_file()


@pytest.mark.slow
def test_four_images_can_be_learned_by_heart(easy, tmp_path):
    outcome = train(easy, tmp_path / "run")
    assert outcome.report.ap > 0.95
    assert all(entry.ap > 0.9 for entry in outcome.report.classes)
