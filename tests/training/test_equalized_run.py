"""Trainings with each kind of classification loss: the account of the classes in step, checkpoint, log and picture."""

import json
from dataclasses import replace
from itertools import product

import cv2
import numpy as np
import pytest
import torch

from nanogfl.config import Config, HeadConfig, LossConfig
from nanogfl.data.class_counts import boxes_per_class
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.data.loader import Loader
from nanogfl.errors import UserError
from nanogfl.loss.assist import AssistBranch
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.model.heads.per_level import GflHead
from nanogfl.training.datasets import load_data
from nanogfl.training.loop import train
from nanogfl.training.reports.pictures import save_focus, spread_out
from nanogfl.training.step import TrainStep, build_step
from nanogfl_deploy.runtime import Detector
from nanogfl_export.export import export_checkpoint
from tests.thinned import thinned

CPU = torch.device("cpu")
EFL = LossConfig(classification="efl", assigner="tal")


def fp32(config: Config, loss: LossConfig, **train_keys) -> Config:
    quality = "none" if loss.classification in ("fl", "efl") else "joint"
    model = replace(config.model, head=replace(config.model.head, quality=quality))
    return replace(config, model=model, loss=loss, train=replace(config.train, **{"precision": "fp32", **train_keys}))


def make(config: Config) -> tuple[TrainStep, Loader]:
    torch.manual_seed(0)
    data = load_data(config)
    step = build_step(config, build_detector(config.model, 2), CPU)
    step.detector.train()
    return step, Loader(data.train, config, data.train_frames)


def keep_logits(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The class logits of every step from now on, which keep their gradients."""
    real, kept = TrainStep.losses, []

    def losses(self, outputs, truth, assignment):
        outputs.predictions.cls_logits.retain_grad()
        kept.append(outputs.predictions.cls_logits)
        return real(self, outputs, truth, assignment)

    monkeypatch.setattr(TrainStep, "losses", losses)
    return kept


@pytest.mark.parametrize(
    ("kind", "scale"), thinned(product(("efl", "eqfl"), (None, 1024.0)), ("efl", None), ("eqfl", 1024.0))
)
def test_the_account_is_of_the_gradient_of_all_batches_of_an_update_without_the_loss_scale(
    tiny, kind, scale, monkeypatch
):
    step, loader = make(fp32(tiny, replace(EFL, classification=kind)))
    if scale is not None:
        step.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    kept = keep_logits(monkeypatch)
    step.equalizer.totals += torch.tensor([[1.0, 30], [2, 31]])  # the classes of a run that has begun
    for _ in range(2):
        before = step.equalizer.totals.clone()
        kept.clear()
        for batch in loader.epoch(0):
            step.accumulate(batch, 0, detach_guide=False, share=0.5)
            assert torch.equal(step.equalizer.totals, before)
        step.update(0)
        assert len(kept) == 2
        # shares are in the gradients; every scale is a power of two, which divides out without a trace
        expected = sum(logits.grad.abs().sum(dim=(0, 1)) for logits in kept) / (scale or 1.0)
        found = (step.equalizer.totals - before).sum(dim=0).float()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)
        assert (step.equalizer.focus().gamma > 2).all()


def test_in_half_precision_the_account_is_in_float32(tiny, monkeypatch):
    """The gradient of bf16 logits is rounded to three digits; the account is not."""
    step, loader = make(fp32(tiny, EFL, precision="bf16"))
    kept = keep_logits(monkeypatch)
    step.accumulate(loader.batch(0, 0), 0, detach_guide=False, share=1.0)
    step.update(0)
    assert kept[0].dtype == kept[0].grad.dtype == torch.bfloat16
    rounded = kept[0].grad.double().abs().sum(dim=(0, 1))
    assert step.equalizer.totals.sum(dim=0).tolist() == pytest.approx(rounded.tolist(), rel=4e-3)
    assert step.equalizer.totals.dtype == torch.float64


def test_a_step_that_is_not_finite_is_not_in_the_account(tiny, monkeypatch):
    step, loader = make(fp32(tiny, EFL))
    batch = loader.batch(0, 0)
    step.accumulate(batch, 0, detach_guide=False, share=1.0)
    step.update(0)
    before, real = step.equalizer.totals.clone(), TrainStep.losses
    monkeypatch.setattr(TrainStep, "losses", lambda *args: (x := real(*args))._replace(total=x.total * float("nan")))
    step.accumulate(batch, 1, detach_guide=False, share=1.0)
    step.update(1)
    assert step.read()[1] == 1
    assert torch.equal(step.equalizer.totals, before)


@pytest.mark.slow
def test_a_run_of_another_classification_or_of_before_resumes_with_an_empty_account(tiny, tmp_path, capsys):
    config = fp32(tiny, LossConfig(), epochs=1, eval_every=1)
    train(config, tmp_path / "run")
    content = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert content["training"].pop("equalizer") is None
    for key in ("classification", "alpha", "gamma", "efl_scale"):  # as an older version wrote it
        del content["config"]["loss"][key]
    del content["config"]["model"]["head"]["prior"]
    torch.save(content, tmp_path / "run/last.pt")
    train(fp32(tiny, replace(EFL, classification="eqfl"), epochs=2, eval_every=1), tmp_path / "run", resume=True)
    assert "loss.classification qfl -> eqfl" in capsys.readouterr().out
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert ["gamma" in entry for entry in log] == [False, True]
    assert len(log[1]["gamma"]) == 2
    assert all(2 <= value <= 10 for value in log[1]["gamma"])
    assert cv2.imread(str(tmp_path / "run/gamma.png")) is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", thinned(["qfl", "fl", "efl", "eqfl"]))
def test_every_kind_trains_and_is_exported(tiny, tmp_path, kind):
    head = replace(tiny.model.head, prior=0.2)  # so that after two steps something is detected, on which files agree
    config = replace(tiny, model=replace(tiny.model, head=head))
    train(fp32(config, replace(EFL, classification=kind), epochs=1), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    (entry,) = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert ("gamma.png" in names) == ("gamma" in entry) == (kind in ("efl", "eqfl"))
    if "gamma" in entry:
        assert len(entry["gamma"]) == 2
        assert all(2 <= value <= 10 for value in entry["gamma"])
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    export_checkpoint(  # it runs the file against the checkpoint
        tmp_path / "run/last.pt",
        tmp_path / "x.onnx",
        frames=[("noise", picture)],
        frames_origin="noise",
        open_device=Detector,
    )
    assert (tmp_path / "x.onnx").is_file()


@pytest.mark.slow
def test_the_auxiliary_branch_trains_with_an_equalized_loss(tiny, tmp_path):
    guided = replace(EFL, assigner="dsla", assist=True, assist_channels=32)
    train(fp32(tiny, guided, epochs=1), tmp_path / "run")
    assert (load_checkpoint(tmp_path / "run/last.pt").training["equalizer"]["negative"] > 0).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own, torch 2.13
@pytest.mark.parametrize("kind", thinned(["efl", "eqfl"], "eqfl"))
def test_the_step_is_one_graph_with_the_same_losses_and_the_same_account(tiny, kind):
    config = fp32(tiny, replace(EFL, classification=kind))
    step, _ = make(config)
    data = load_data(config)
    batch = Loader(data.train, config, data.train_frames, pad=True).batch(0, 0)
    step.detector.eval()
    traced = torch.compile(step._forward_and_losses, fullgraph=True, dynamic=False, backend="aot_eager")
    accounts, losses = [], []
    for run in (step._forward_and_losses, traced, traced):
        losses.append(run(batch.images, batch.colour, batch.truth, False))
        if step.equalizer is not None:
            step.equalizer.add(1.0)
            accounts.append(step.equalizer._update.clone())
            step.equalizer._update.zero_()
    for found in (*zip(losses[0], losses[1], strict=True), *zip(losses[0], losses[2], strict=True)):
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    for account in accounts[1:]:
        torch.testing.assert_close(account, accounts[0], rtol=1e-4, atol=1e-9)


# Config and head ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [0.01, 0.001])
def test_the_prior_is_the_probability_that_classes_start_at(tiny, prior):
    model = replace(tiny.model, head=replace(tiny.model.head, prior=prior))
    detector = build_detector(model, 3)
    assert isinstance(detector.head, GflHead)
    for output in detector.head.outputs:
        assert output.bias[:3].sigmoid().tolist() == pytest.approx([prior] * 3, rel=1e-5)
        assert not output.bias[3:].any()
    branch = AssistBranch(detector, LossConfig(assigner="dsla", assist=True, assist_channels=32), "relu")
    assert branch.head.class_output.bias.sigmoid().tolist() == pytest.approx([prior] * 3, rel=1e-5)


def test_the_prior_is_no_part_of_what_a_model_is():
    assert HeadConfig(prior=0.001) == HeadConfig()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"classification": "efl", "gamma": 0.0}, "classification efl divides by gamma: set gamma above 0"),
        ({"classification": "eqfl", "gamma": 0.0}, "eqfl divides by gamma"),
        ({"gamma": -1.0}, "gamma must be at least 0, got -1"),
        ({"efl_scale": -1.0}, "efl_scale must be at least 0, got -1"),
        ({"alpha": 1.5}, "alpha must be at most 1, got 1.5"),
    ],
)
def test_what_makes_no_sense_is_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        LossConfig(**keys)
    LossConfig(classification="fl", gamma=0.0, alpha=None)


def test_a_recipe_can_switch_alpha_off(tmp_path):
    from nanogfl.recipe import load_config

    (tmp_path / "c.yaml").write_text("loss: {classification: fl}\nmodel: {head: {quality: none}}\n")
    assert load_config(tmp_path / "c.yaml").loss.alpha == 0.25
    assert load_config(tmp_path / "c.yaml", ("loss.alpha=none",)).loss.alpha is None
    assert load_config(tmp_path / "c.yaml", ("loss.alpha=0.4",)).loss.alpha == 0.4
    with pytest.raises(UserError, match=r"loss\.classification: Input should be 'qfl', 'fl', 'efl' or 'eqfl'"):
        load_config(tmp_path / "c.yaml", ("loss.classification=vfl",))
    with pytest.raises(UserError, match="prior must be above 0, got 0"):
        load_config(tmp_path / "c.yaml", ("model.head.prior=0",))


# Picture --------------------------------------------------------------------------------------------------------


def data_set(counts: list[int]) -> DataSet:
    labels = np.repeat(np.arange(len(counts)), counts)
    n = len(labels)
    crowd = np.zeros(n, dtype=bool)
    crowd[0] = True
    image = ImageRecord(1, "x", (4, 6), np.zeros((n, 4), np.float32), labels, np.zeros(n, np.float32), crowd)
    names = tuple(f"class {i}" for i in range(len(counts)))
    return DataSet("d", names, tuple(range(len(counts))), (image,), ())


@pytest.mark.parametrize("classes", thinned([1, 3, 40], 1, 40))
def test_the_picture_is_drawn_for_any_number_of_classes_and_a_single_epoch(tmp_path, classes):
    counts = [30] * (classes - 1) + ([0] if classes > 1 else [2])
    log = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "gamma": [2.0 + i / 10 for i in range(classes)]}]
    save_focus(tmp_path / "gamma.png", log, data_set(counts))
    assert cv2.imread(str(tmp_path / "gamma.png")).std() > 5


def test_objects_are_counted_by_class_without_crowds():
    assert boxes_per_class(data_set([4, 0, 2])).tolist() == [3, 0, 2]


def test_names_beside_near_lines_stand_apart():
    places = spread_out(np.array([2.0, 2.01, 5.0, 9.99, 10.0]), 10.0, 0.5)
    assert places.tolist() == pytest.approx([2.0, 2.5, 5.0, 9.5, 10.0])
    assert spread_out(np.array([3.0, 7.0]), 10.0, 0.5).tolist() == [3.0, 7.0]
