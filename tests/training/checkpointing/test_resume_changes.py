"""--resume with another config: every key either takes effect or is refused, and none is recorded without effect.

What a key does is seen in the weights after the rest of the run, in this process and without validation.
"""

import hashlib
import re
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from nanogfl.config import Config
from nanogfl.data.cache.frames import open_frames
from nanogfl.data.loader import Loader
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import load_checkpoint, weights_digest
from nanogfl.model.detector import build_detector
from nanogfl.recipe import config_from_dict
from nanogfl.training import loop
from nanogfl.training.checkpointing.resume_rules import RULES, values
from nanogfl.training.checkpointing.saved import load_last
from nanogfl.training.checkpointing.state import RunState
from nanogfl.training.datasets import Data, load_data
from nanogfl.training.interrupt import Interrupt
from nanogfl.training.loop import run_epoch, train
from nanogfl.training.reports.progress import Progress
from nanogfl.training.start.freeze import FrozenParts
from nanogfl.training.step import build_step
from tests.thinned import thinned

MIXED = {"augment.mosaic": 1.0, "augment.mixup": 0.5, "augment.copy_paste": 0.5, "augment.plain_end": 0.0}
TAL, DSLA = {"loss.assigner": "tal"}, {"loss.assigner": "dsla"}
FOCAL = {"loss.classification": "fl", "model.head.quality": "none"}
EFL = {"loss.classification": "efl", "model.head.quality": "none"}
STEP = {"train.schedule": "step", "train.milestones": [2]}
SGD = {"train.optimizer": "sgd", "train.lr": 0.01}
ANCHORS = {
    "model.head.kind": "shared", "model.head.kernel": 5, "model.head.box": "deltas", "model.head.quality": "none",
    "loss.classification": "fl", "loss.assigner": "max_iou", "loss.box_weight": "none",
}  # fmt: skip

# key: another value, and what the run has to have for the key to mean anything
RESULT: dict[str, tuple[Any, dict[str, Any]]] = {
    "augment.scale": ([0.3, 0.5], {}),
    "augment.stretch": (0.9, {}),
    "augment.translate": (0.5, {}),
    "augment.rotate": (40.0, {}),
    "augment.shear": (30.0, {}),
    "augment.perspective": (0.5, {}),
    "augment.flip": (1.0, {"augment.flip": 0.0}),
    "augment.flip_vertical": (1.0, {}),
    "augment.brightness": (0.9, {}),
    "augment.contrast": (0.9, {}),
    "augment.saturation": (0.9, {}),
    "augment.mosaic": (0.0, MIXED),
    "augment.mosaic_scale": ([0.2, 0.3], MIXED),
    "augment.mixup": (0.0, {"augment.mixup": 1.0, "augment.plain_end": 0.0}),
    "augment.copy_paste": (0.0, {"augment.copy_paste": 1.0, "augment.plain_end": 0.0}),
    "augment.plain_end": (1.0, MIXED),
    "augment.keep_visible": (1.0, {"augment.translate": 0.6}),
    "data.repeat_threshold": (1.0, {}),
    "data.cache_zoom": (3.0, {}),
    "loss.cls": (3.0, {}),
    "loss.box": (0.5, {}),
    "loss.side": (2.0, {}),
    "loss.quality": (4.0, {**FOCAL, "model.head.quality": "iou"}),
    "loss.box_weight": ("none", {}),
    "loss.smooth_l1_beta": (1.0, ANCHORS),
    "loss.beta": (0.5, {}),
    "loss.assigner": ("tal", {}),
    "loss.atss_candidates": (3, {}),
    "loss.atss_anchor": (2.0, {}),
    "loss.dsla_candidates": (1, DSLA),
    "loss.dsla_iou_weight": (0.0, DSLA),
    "loss.tal_candidates": (1, TAL),
    "loss.tal_alpha": (4.0, TAL),
    "loss.tal_beta": (1.0, TAL),
    "loss.assist_detach_epochs": (0, {**DSLA, "loss.assist": True, "loss.assist_channels": 16}),
    "loss.classification": ("eqfl", {}),
    "loss.alpha": (0.9, FOCAL),
    "loss.gamma": (1.0, FOCAL),
    "loss.efl_scale": (1.0, {**EFL, "model.head.prior": 0.5}),  # so that classes are pushed down
    "train.epochs": (4, {}),
    "train.epoch_batches": (2, {}),
    "train.pace": ([[1, 2]], {}),
    "train.batch_size": (4, {}),
    "train.accumulate": (3, {}),
    "train.momentum": (0.1, SGD),
    "train.lr": (0.02, {}),
    "train.weight_decay": (0.9, {}),
    "train.schedule": ("flat_cosine", {}),
    "train.milestones": ([1], STEP),
    "train.warmup_steps": (0, {"train.warmup_steps": 9, "train.epochs": 40}),
    "train.final_lr": (1.0, {}),
    "train.clip_norm": (0.01, {}),
    "train.ema_decay": (0.1, {}),
    "train.seed": (1, {}),
    "train.precision": ("bf16", {}),
}
# what decides where, when or how fast: read anew by every process, whatever is saved
ELSEWHERE = {
    *("data.root", "data.train.annotations", "data.train.images", "data.val.annotations", "data.val.images"),
    *("data.strict", "data.cache", "data.cache_dir", "data.memory_gb", "data.workers", "data.min_labelled"),
    *(
        "train.eval_every",
        "train.eval_images",
        "train.save_every",
        "train.patience",
        "train.device",
        "train.compile",
        "train.threads",
    ),
    *("train.sync_batch_norm", "train.timeout_minutes", "train.loggers"),
    # of a run with a teacher: tests/training/distill
    *("train.teacher", "distill.cls", "distill.side", "distill.side_points", "distill.temperature", "distill.feature"),
}
OTHER = {  # of the keys that are refused or stay
    "model.input.hw": [96, 96], "model.input.resize": "letterbox", "model.input.mean": [1.0, 2.0, 3.0],
    "model.input.std": [1.0, 2.0, 3.0], "model.activation": "leaky_relu", "model.backbone.kind": "resnet18",
    "model.backbone.width": "1.0x", "model.backbone.channels": [16, 32, 64, 96], "model.backbone.blocks": [0, 1, 1, 1],
    "model.backbone.expansion": 3, "model.backbone.kernel": 5, "model.backbone.down": "separable",
    "model.neck.kind": "pan", "model.neck.channels": 32,
    "model.neck.extra_level": False, "model.neck.p6_from": "c5", "model.head.kind": "shared",
    "model.head.box": "dirac", "model.head.quality": "none", "model.head.dgqp": True, "model.head.dgqp_top": 3,
    "model.head.dgqp_hidden": 32, "model.head.norm": "none", "model.head.anchor_size": 2.0, "model.head.convs": 2,
    "model.head.kernel": 5, "model.head.reg_max": 9, "model.head.bin_width": 0.5, "model.head.point_offset": 0.0,
    "model.selection.score": 0.2, "model.selection.iou": 0.5, "model.selection.candidates": 500,
    "model.selection.keep": 50, "loss.assist": True, "loss.assist_channels": 64, "train.optimizer": "sgd",
    "train.freeze": ["backbone.stem"], "model.backbone.weights": "w.pth", "model.backbone.weights_sha256": "0" * 64,
    "model.backbone.weights_order": "rgb", "model.head.prior": 0.2, "train.init_from": "a.pt", "train.minutes": 2.0,
}  # fmt: skip
SUMS = {"model.backbone.kind": "sumnet", "model.backbone.width": "1.0x"}
TOGETHER = {  # keys that go with no other value of theirs alone
    "model.backbone.kind": {"model.backbone.width": "1.0x"},
    **{f"model.backbone.{key}": SUMS for key in ("channels", "blocks", "expansion", "kernel", "down")},
    "model.neck.kind": {"model.neck.extra_level": False},
    "model.neck.p6_from": {"model.neck.kind": "fpn", "model.neck.extra_level": False},
    "model.head.kind": {"model.head.kernel": 5},
    "model.head.norm": {"model.head.kind": "shared", "model.head.kernel": 5},
    "model.head.quality": {"loss.classification": "fl"},
    "model.head.anchor_size": ANCHORS,
    "loss.assist": DSLA,
    "train.schedule": {},
}


def changed(config: Config, keys: dict[str, Any]) -> Config:
    content = config.to_dict()
    for key, value in keys.items():
        *parents, name = key.split(".")
        section = content
        for parent in parents:
            section = section[parent]
        section[name] = value
    return config_from_dict(content, "here")


@pytest.fixture
def base(tiny: Config) -> Config:
    keys = {"train.epochs": 3, "train.batch_size": 3, "train.precision": "fp32", "data.cache": "memory"}
    return changed(tiny, {**keys, "data.workers": 0, "train.warmup_steps": 0, "train.lr": 0.01})


@pytest.fixture(scope="module")
def data() -> list[Data]:
    """Filled by the first test that reads it."""
    return []


def read(config: Config, data: list[Data]) -> Data:
    if not data:
        data.append(load_data(config))
    known = data[0]
    if config.data.cache_zoom != 1 or config.model.input.hw != (64, 96):
        return known._replace(train_frames=open_frames(known.train, config.model.input, config.data, zoom=3.0)[1])
    return known


def prepare(config: Config, run_dir: Path, data: list[Data]) -> tuple[RunState, Loader]:
    torch.manual_seed(0)
    own = read(config, data)
    detector = build_detector(config.model, 2)
    frozen = FrozenParts(detector, config.train.freeze)
    loader = Loader(own.train, config, own.train_frames)
    state = RunState(run_dir, config, own, build_step(config, detector, torch.device("cpu")), loader.steps)
    frozen.train_mode(*state.step.modules())
    return state, loader


def learn(state: RunState, loader: Loader) -> None:
    """An epoch."""
    progress = Progress(loader.config, state.run_dir, silent=True)
    entry = run_epoch(state, loader, islice(loader.epoch(state.epochs_done), loader.steps), progress, Interrupt(str))
    state.end_epoch(entry)


def go_on(now: Config, begun: Path, run_dir: Path, data: list[Data]) -> str:
    """The rest of a run that was begun, an epoch, with what is now -> the digest of its weights and their average."""
    shutil.copytree(begun, run_dir)
    state, loader = prepare(now, run_dir, data)
    state.restore(load_last(run_dir, now, state.data, loader.steps))
    learn(state, loader)
    last = load_checkpoint(run_dir / "last.pt")
    return weights_digest(last.training["detector"]) + weights_digest(last.weights)


def test_every_key_of_the_config_has_a_rule_and_a_place_in_this_test():
    keys = set(values(Config()))
    assert set(RULES) == keys
    refused = {key for key in keys if RULES[key] in ("fixed", "start", "planned")}
    assert set(RESULT) | ELSEWHERE == keys - refused
    assert not set(RESULT) & ELSEWHERE
    assert set(OTHER) == refused


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("templates")


@pytest.mark.slow
@pytest.mark.parametrize(
    "key",
    thinned(*(RESULT, "augment.mosaic", "data.repeat_threshold", "loss.box", "train.weight_decay", "train.epochs")),
)
def test_a_key_that_may_change_changes_what_is_trained(base, data, templates, tmp_path, key):
    value, needed = RESULT[key]
    then = changed(base, needed)
    now = changed(then, {key: value})
    assert values(then)[key] != values(now)[key]
    begun = templates / hashlib.sha256(repr(needed).encode()).hexdigest()
    if not begun.exists():
        begun.mkdir()
        learn(*prepare(then, begun, data))
        (begun / "unchanged").write_text(go_on(then, begun, tmp_path / "then", data))
    assert go_on(now, begun, tmp_path / "now", data) != (begun / "unchanged").read_text()


@pytest.fixture
def stopped(base, data, templates, tmp_path) -> Path:
    """After an epoch."""
    if not (templates / "run").exists():
        (templates / "run").mkdir()
        learn(*prepare(base, templates / "run", data))
    return Path(shutil.copytree(templates / "run", tmp_path / "run"))


def test_a_key_that_shapes_the_saved_tensors_is_refused_by_its_name(base, data, stopped):
    for key in (key for key in OTHER if RULES[key] == "fixed"):
        now = changed(base, {**TOGETHER.get(key, {}), key: OTHER[key]})
        with pytest.raises(UserError, match=rf"{re.escape(key)}.*--init-from"):
            load_last(stopped, now, read(base, data), 3)


def test_a_key_that_only_a_start_reads_stays_in_the_config_and_it_is_said(base, data, stopped):
    for key in (key for key in OTHER if RULES[key] == "start"):
        last = load_last(stopped, changed(base, {key: OTHER[key]}), read(base, data), 3)
        assert values(last.config) == values(base)
        assert any(key in line for line in last.lines)


@pytest.mark.parametrize(("key", "value"), [("batch_size", 2), ("accumulate", 2), ("seed", 5)])
def test_in_the_middle_of_an_epoch_its_order_and_its_batches_stay(base, data, tmp_path, key, value):
    state, _ = prepare(base, tmp_path, data)
    state.step.optimizer.step()
    state.batches_done = 1
    state.save()
    with pytest.raises(UserError, match=rf"middle of an epoch.*{key}"):
        load_last(tmp_path, changed(base, {f"train.{key}": value}), read(base, data), 3)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_optimizer_that_goes_on_has_the_configs_settings(base, data, tmp_path, name):
    then = changed(base, {"train.optimizer": name})
    now = changed(then, {"train.weight_decay": 0.5, "train.momentum": 0.3})
    learn(*prepare(then, tmp_path, data))
    state, _ = prepare(now, tmp_path, data)
    state.restore(load_last(tmp_path, now, state.data, 3))
    decayed, free = state.step.optimizer.param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    assert decayed.get("momentum", 0.3) == 0.3
    saved = load_checkpoint(tmp_path / "last.pt").training["optimizer"]["state"]
    assert all(
        torch.equal(a, b)
        for a, b in zip(saved[0].values(), state.step.optimizer.state_dict()["state"][0].values(), strict=True)
    )


def test_fewer_epochs_than_are_done_are_refused(base, data, stopped):
    state, loader = prepare(base, stopped, data)
    state.restore(load_last(stopped, base, state.data, 3))
    learn(state, loader)
    with pytest.raises(UserError, match=r"2 whole epochs.*train\.epochs 1"):
        load_last(stopped, changed(base, {"train.epochs": 1}), state.data, 3)


def test_what_was_refused_has_not_touched_the_run(base, stopped, monkeypatch):
    monkeypatch.setattr(loop, "_save_pictures", lambda *_: None)
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    with pytest.raises(UserError):
        train(changed(base, {"train.optimizer": "sgd"}), stopped, resume=True)
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before


def test_a_resumed_config_is_the_one_that_is_recorded(base, stopped, monkeypatch):
    monkeypatch.setattr(loop, "_save_pictures", lambda *_: None)
    now = replace(base, train=replace(base.train, epochs=2, weight_decay=0.5, init_from="none.pt"))
    train(now, stopped, resume=True)
    config = load_checkpoint(stopped / "last.pt").config
    assert (config.train.weight_decay, config.train.init_from) == (0.5, None)
