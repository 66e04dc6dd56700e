"""The step: accumulation, the guard against numbers that are none, the auxiliary branch, compiled code."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nanogfl.config import Config, LossConfig
from nanogfl.data.loader import Loader
from nanogfl.data.truth import Truth
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.training.datasets import load_data
from nanogfl.training.loop import train
from nanogfl.training.reports.diagnose import first_bad_tensor
from nanogfl.training.step import TrainStep, build_step
from tests.thinned import thinned

CPU = torch.device("cpu")


def fp32(config: Config, **train_keys) -> Config:
    return replace(config, train=replace(config.train, precision="fp32", **train_keys))


def make(config: Config) -> tuple[TrainStep, Loader]:
    torch.manual_seed(0)
    data = load_data(config)
    step = build_step(config, build_detector(config.model, 2), CPU)
    step.detector.train()
    return step, Loader(data.train, config, data.train_frames)


def weights(step: TrainStep) -> list[torch.Tensor]:
    return [p.detach().clone() for p in step.detector.parameters()]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_accumulated_gradients_are_the_mean_of_the_batches(tiny):
    step, loader = make(fp32(tiny))
    step.detector.eval()  # batch norm without the batch's statistics, so that order does not matter
    batches = list(loader.epoch(0))
    assert len(batches) == 2
    apart = []
    for batch in batches:
        step.optimizer.zero_grad()
        step.accumulate(batch, 0, detach_guide=False, share=1.0)
        apart.append([p.grad.clone() for p in step.detector.parameters()])
    step.optimizer.zero_grad()
    for batch in batches:
        step.accumulate(batch, 0, detach_guide=False, share=0.5)
    for parameter, first, second in zip(step.detector.parameters(), *apart, strict=True):
        torch.testing.assert_close(parameter.grad, (first + second) / 2, rtol=1e-4, atol=1e-7)


def test_a_run_updates_once_for_every_so_many_batches_and_at_the_epochs_end(tiny, tmp_path, monkeypatch):
    updates, shares = [], []
    real_update, real_accumulate = TrainStep.update, TrainStep.accumulate
    monkeypatch.setattr(TrainStep, "update", lambda self, done: (updates.append(done), real_update(self, done))[1])

    def accumulate(self, batch, done, *, detach_guide, share):
        shares.append(share)
        real_accumulate(self, batch, done, detach_guide=detach_guide, share=share)

    monkeypatch.setattr(TrainStep, "accumulate", accumulate)
    train(fp32(tiny, epochs=2, batch_size=3, accumulate=2), tmp_path / "run")  # 9 images: batches of 2 and 1
    assert updates == [1, 2, 4, 5]
    assert shares == [0.5, 0.5, 1.0] * 2
    assert load_checkpoint(tmp_path / "run/last.pt").training["ema_updates"] == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bad_step_and_those_after_it_change_no_weight(tiny, value, monkeypatch):
    step, loader = make(fp32(tiny))
    batch = next(iter(loader.epoch(0)))
    for done in range(2):
        before = weights(step)
        step.accumulate(batch, done, detach_guide=False, share=1.0)
        step.update(done)
        assert not equal(weights(step), before)
    assert step.read()[1] is None
    before, real = weights(step), TrainStep.losses
    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "losses", lambda *args: (x := real(*args))._replace(total=x.total * value))
        step.accumulate(batch, 2, detach_guide=False, share=1.0)
        step.update(2)
    for done in (3, 4):
        step.accumulate(batch, done, detach_guide=False, share=1.0)
        step.update(done)
    assert equal(weights(step), before)
    assert step.read()[1] == 2


def test_a_gradient_alone_that_is_no_number_is_seen(tiny):
    step, loader = make(fp32(tiny))
    step.accumulate(next(iter(loader.epoch(0))), 7, detach_guide=False, share=1.0)
    assert step.read()[1] is None
    next(step.detector.parameters()).grad[0] = float("nan")
    before = weights(step)
    step.update(7)
    assert step.read()[1] == 7
    assert equal(weights(step), before)


@pytest.mark.parametrize("part", ["cls", "box", "side", "positives"])
def test_every_part_of_the_loss_is_watched(tiny, part, monkeypatch):
    step, loader = make(fp32(tiny))
    real = TrainStep.losses
    monkeypatch.setattr(
        TrainStep, "losses", lambda *args: (x := real(*args))._replace(**{part: getattr(x, part) * float("inf")})
    )
    step.accumulate(next(iter(loader.epoch(0))), 3, detach_guide=False, share=1.0)
    assert step.read()[1] == 3


def test_the_first_bad_tensor_is_named_in_the_order_of_computing(tiny):
    step, loader = make(fp32(tiny))
    batch = next(iter(loader.epoch(0)))
    assert first_bad_tensor(step, batch, detach_guide=False) is None
    stage = step.detector.backbone.stage3[1].branch2[0]
    with torch.no_grad():
        stage.weight[0] = 1e38  # finite itself, its output is not
    found = first_bad_tensor(step, batch, detach_guide=False)
    assert found.startswith("output of backbone.stage3.1.branch2.")
    with torch.no_grad():
        stage.weight[0, 0] = float("nan")
    found = first_bad_tensor(step, batch, detach_guide=False)
    assert found.startswith("weight backbone.stage3.1.branch2.0.weight (1 of")


def test_a_run_that_blows_up_names_the_tensor_and_keeps_the_batch_and_the_last_whole_epoch(tiny, tmp_path, monkeypatch):
    real = TrainStep.update

    def poisoned(self, done):
        real(self, done)
        if done == 2:  # the first of the second epoch
            with torch.no_grad():
                self.detector.neck.reduce[1][0].weight[0] = float("inf")

    monkeypatch.setattr(TrainStep, "update", poisoned)
    with pytest.raises(UserError) as raised:
        train(fp32(tiny), tmp_path / "run")
    text = str(raised.value)
    assert "no longer a finite number at step 3 (epoch 2, batch 2)" in text
    assert "first bad tensor: weight neck.reduce.1.0.weight" in text
    assert "lower train.lr" in text
    assert "\n" not in text
    checkpoint = load_checkpoint(tmp_path / "run/last.pt")
    assert checkpoint.training["epoch"] == 1
    assert all(torch.isfinite(v).all() for v in checkpoint.weights.values())
    monkeypatch.undo()
    with np.load(tmp_path / "run/bad_batch.npz", allow_pickle=False) as kept:
        _, loader = make(fp32(tiny))
        expected = loader.batch(1, 1)
        assert np.array_equal(kept["images"], expected.images.numpy())
        assert np.array_equal(kept["truth_boxes"], expected.truth.boxes.numpy())
        assert [str(name) for name in kept["files"]] == [loader.dataset.images[i].path.name for i in expected.indices]
    assert (tmp_path / "run/bad_batch.png").stat().st_size > 1000
    train(fp32(tiny), tmp_path / "run", resume=True)  # and it can go on


def test_a_learning_rate_that_is_far_too_large_ends_in_that_sentence(tiny, tmp_path):
    with pytest.raises(UserError, match=r"no longer a finite number.*first bad tensor: \w+"):
        train(fp32(tiny, lr=1e30, warmup_steps=0, epochs=12), tmp_path / "run")


GUIDED = LossConfig(assigner="dsla", assist=True, assist_channels=32, assist_detach_epochs=2)


@pytest.mark.slow
def test_the_auxiliary_branch_trains_beside_the_detector_and_is_not_in_best_pt(tiny, tmp_path):
    config = replace(fp32(tiny), loss=GUIDED)
    whole = tmp_path / "whole"
    train(replace(config, train=replace(config.train, epochs=1)), whole)
    best = load_checkpoint(whole / "best.pt")
    assert not any("assist" in name for name in best.weights)
    assert best.build() is not None  # the detector alone
    with pytest.raises(UserError, match=r"loss\.assist True -> False.*--init-from"):
        train(replace(config, loss=replace(GUIDED, assist=False)), whole, resume=True)


def test_after_the_last_guided_epoch_the_branch_no_longer_changes_the_backbone(tiny):
    step, loader = make(replace(fp32(tiny), loss=GUIDED))
    batch = next(iter(loader.epoch(0)))

    def backbone_gradient(detach: bool) -> torch.Tensor:
        step.optimizer.zero_grad()
        # the branch's own loss alone
        outputs = step.forward(batch.images, batch.colour, detach)
        losses = step.losses(
            outputs._replace(predictions=outputs.guide), batch.truth, step.assign(outputs, batch.truth)
        )
        losses.total.backward()
        assert step.assist.head.class_output.weight.grad.abs().sum() > 0
        grad = step.detector.backbone.conv1[0].weight.grad
        return torch.zeros(1) if grad is None else grad

    assert backbone_gradient(False).abs().sum() > 0
    assert backbone_gradient(True).abs().sum() == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own, torch 2.13
@pytest.mark.parametrize("assigner", thinned(["atss", "dsla", "tal"], "dsla"))
def test_the_step_is_one_graph_with_the_same_losses(tiny, assigner):
    """Fullgraph: a part that cannot be traced is an error. The graph is run without a compiler here."""
    config = replace(fp32(tiny), loss=replace(tiny.loss, assigner=assigner))
    step, _ = make(config)
    data = load_data(config)
    batch = Loader(data.train, config, data.train_frames, pad=True).batch(0, 0)
    step.detector.eval()
    traced = torch.compile(step._forward_and_losses, fullgraph=True, dynamic=False, backend="aot_eager")
    found = traced(batch.images, batch.colour, batch.truth, False)
    expected = step._forward_and_losses(batch.images, batch.colour, batch.truth, False)
    assert expected.positives > 0
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_padded_truth_changes_no_loss(tiny):
    step, loader = make(fp32(tiny))
    batch = loader.batch(0, 0)
    length = len(batch.truth.boxes)
    longer = [torch.cat((part, torch.zeros(5, *part.shape[1:], dtype=part.dtype))) for part in batch.truth]
    step.detector.eval()
    plain = step._forward_and_losses(batch.images, batch.colour, batch.truth, False)
    padded = step._forward_and_losses(batch.images, batch.colour, Truth(*longer), False)
    assert length > 0
    assert all(torch.equal(a, b) for a, b in zip(plain, padded, strict=True))
