"""Whole trainings that start from weights: frozen parts, resume, and files that are needed only once."""

from dataclasses import replace

import pytest
import torch

from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import Checkpoint, describe_checkpoint, load_checkpoint, save_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.model.predictor import load_predictor
from nanogfl.recipe import load_config
from nanogfl.training.loop import train
from nanogfl.training.start import choose, published
from nanogfl.training.start.published import Published
from tests.training.test_loop import fingerprint, train_until


def with_train(config: Config, **changes) -> Config:
    return replace(config, train=replace(config.train, **changes))


@pytest.fixture
def old(tiny, tmp_path):
    """A checkpoint of the tiny model with other classes, `ellipse` among them."""
    torch.manual_seed(3)
    weights = build_detector(tiny.model, 3).state_dict()
    for name, value in weights.items():
        if name.endswith("running_mean"):
            value.uniform_(-0.1, 0.1)
    path = tmp_path / "old.pt"
    save_checkpoint(path, Checkpoint(tiny, ("ellipse", "star", "moon"), (1, 2, 3), weights))
    return path, weights


@pytest.fixture
def trunk(tiny, tmp_path):
    torch.manual_seed(4)
    weights = build_detector(tiny.model, 1).backbone.state_dict()
    torch.save(weights, tmp_path / "trunk.pth")
    model = replace(tiny.model, backbone=replace(tiny.model.backbone, weights=str(tmp_path / "trunk.pth")))
    return replace(tiny, model=model), tmp_path / "trunk.pth", weights


def test_frozen_parts_stay_to_the_bit_in_both_sets_of_weights_while_the_others_learn(tiny, old, tmp_path, capsys):
    path, weights = old
    config = with_train(tiny, epochs=1, init_from=str(path), freeze=("backbone", "head.towers"))
    train(config, tmp_path / "run")  # two steps
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    for state in (checkpoint.weights, checkpoint.training["detector"]):
        for name, value in state.items():
            if name.startswith(("backbone.", "head.towers.", "mean", "std")):
                assert torch.equal(value, weights[name]), name
            elif value.is_floating_point() and not name.startswith("head.outputs"):
                assert not torch.equal(value, weights[name]), name
    trained = sum(len(group["params"]) for group in checkpoint.training["optimizer"]["param_groups"])
    assert trained == len(checkpoint.training["optimizer"]["state"]) > 0
    shown = capsys.readouterr().out
    assert "classes kept by name: ellipse; fresh: rectangle" in shown
    assert "frozen: backbone, head.towers; " in shown
    assert "kept in part (head.outputs.0.{weight, bias}" in shown


@pytest.mark.slow
def test_a_fine_tuning_cut_off_and_resumed_is_the_uninterrupted_one_to_the_bit(
    tiny, old, tmp_path, monkeypatch, capsys
):
    config = with_train(tiny, epochs=2, init_from=str(old[0]), freeze=("backbone.stem", "backbone.stage2", "neck"))
    train(config, tmp_path / "whole")
    train_until(config, tmp_path / "resumed", 1, monkeypatch)
    old[0].unlink()  # resuming ignores it
    capsys.readouterr()
    train(config, tmp_path / "resumed", resume=True)
    shown = capsys.readouterr().out
    assert "are ignored: the weights are last.pt's" in shown
    assert "start:" not in shown
    assert "frozen: backbone.stem, backbone.stage2, neck; " in shown
    assert fingerprint(tmp_path / "resumed") == fingerprint(tmp_path / "whole")


def test_resuming_with_other_frozen_parts_is_one_sentence(tiny, old, tmp_path):
    config = with_train(tiny, epochs=1, init_from=str(old[0]), freeze=("neck",))
    train(config, tmp_path / "run")
    with pytest.raises(UserError, match=r"train\.freeze \['neck'\] -> \[\]"):
        train(with_train(config, epochs=2, freeze=()), tmp_path / "run", resume=True)


@pytest.mark.slow
def test_the_trunks_file_is_needed_once(trunk, tmp_path, capsys):
    config, file, weights = trunk
    config = with_train(config, epochs=1, freeze=("backbone",))
    train(config, tmp_path / "run")
    assert "start: backbone from " in capsys.readouterr().out
    file.unlink()
    last = tmp_path / "run" / "last.pt"
    checkpoint = load_checkpoint(last)
    assert all(torch.equal(checkpoint.weights[f"backbone.{name}"], value) for name, value in weights.items())
    assert dict(describe_checkpoint(last))["started from"] == str(file)
    load_predictor(last)
    assert load_config(tmp_path / "run" / "config.yaml").model.backbone.weights == str(file)
    outcome = train(with_train(config, epochs=2), tmp_path / "run", resume=True)
    assert outcome.best_epoch in (1, 2)
    # nor is it part of what the model is: a run resumes with or without the key
    plain = replace(config.model, backbone=replace(config.model.backbone, weights=None))
    train(with_train(replace(config, model=plain), epochs=2), tmp_path / "run", resume=True)


def test_a_wrong_start_ends_the_run_before_there_is_a_run_folder(tiny, trunk, old, tmp_path):
    config, file, _ = trunk
    other = build_detector(replace(tiny.model, backbone=replace(tiny.model.backbone, width="1.0x")), 1)
    torch.save(other.backbone.state_dict(), file)
    wide = replace(tiny.model, backbone=replace(tiny.model.backbone, width="1.0x"), neck=replace(tiny.model.neck))
    cases = [
        (config, "set it to 1.0x"),
        (with_train(tiny, init_from=str(tmp_path / "none.pt")), "does not exist"),
        (with_train(tiny, freeze=("backbone",)), "random weights"),
        (with_train(replace(tiny, model=wide), init_from=str(old[0])), "of this detector's parameters"),
        (with_train(tiny, init_from=str(old[0]), freeze=("head",)), "keeps head as it is"),
    ]
    for wrong, message in cases:
        with pytest.raises(UserError, match=message):
            train(wrong, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_run_keeps_what_auto_came_to_and_resumes_with_it(tiny, old, tmp_path, monkeypatch, capsys):
    ours = Published("ours", str(old[0]), "", "", 20.0, 1.0, 96, "", kind="shipped")
    for module in (choose, published):
        monkeypatch.setattr(module, "PUBLISHED", (ours,))
    config = with_train(tiny, epochs=1, init_from="auto", freeze=("backbone",))
    train(config, tmp_path / "run")
    assert "start: ours (COCO AP 20.0" in capsys.readouterr().out
    assert load_config(tmp_path / "run" / "config.yaml").train.init_from == "ours"
    assert dict(describe_checkpoint(tmp_path / "run" / "last.pt"))["started from"] == "ours"
    old[0].unlink()
    assert train(with_train(config, epochs=2), tmp_path / "run", resume=True).best_epoch in (1, 2)
    assert load_config(tmp_path / "run" / "config.yaml").train.init_from == "ours"


def test_none_is_no_start_on_the_command_line_and_in_yaml(tmp_path):
    (tmp_path / "c.yaml").write_text("model: {backbone: {weights: none}}\ntrain: {init_from: a.pt}\n")
    config = load_config(tmp_path / "c.yaml", ("train.init_from=none", "train.freeze=[neck, backbone.stem]"))
    assert config.model.backbone.weights is None
    assert config.train.init_from is None
    assert config.train.freeze == ("neck", "backbone.stem")


@pytest.mark.parametrize("value", ["abc", "0" * 63, "Z" * 64])
def test_a_hash_that_is_none_is_a_config_error(tmp_path, value):
    (tmp_path / "c.yaml").write_text("")
    with pytest.raises(UserError, match=r"weights_sha256 must be 64 hex digits"):
        load_config(tmp_path / "c.yaml", (f"model.backbone.weights_sha256='{value}'",))
