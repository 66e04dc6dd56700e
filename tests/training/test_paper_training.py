"""The papers' network and schedule at small size: steps, frozen parts, the loss of both assigners, a whole run."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from nanogfl.config import BackboneConfig, Config, HeadConfig, LossConfig, ModelConfig, NeckConfig, TrainConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.loader import Loader
from nanogfl.errors import UserError
from nanogfl.model.backbones.resnet import ResNet
from nanogfl.model.checkpoint import describe_checkpoint, load_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.model.predictor import load_predictor
from nanogfl.training.datasets import load_data
from nanogfl.training.loop import train
from nanogfl.training.step import build_step
from tests.thinned import thinned

ASSISTED = LossConfig(assigner="dsla", assist=True, assist_channels=64)
PAPERS_FREEZE = ("backbone.stem", "backbone.stage1", "backbone.statistics")


@pytest.fixture
def paper(tiny) -> Config:
    model = ModelConfig(
        InputSpec((64, 96)),
        backbone=BackboneConfig(kind="resnet18"),
        neck=NeckConfig("fpn", 64, extra_level=False),
        head=HeadConfig(1, kind="shared"),
    )
    settings = TrainConfig(
        optimizer="sgd", lr=0.01, weight_decay=1e-4, schedule="step", milestones=(1,), epochs=2, warmup_steps=2,
        batch_size=4, ema_decay=0.0, eval_every=1, clip_norm=float("inf"), precision="fp32", device="cpu", threads=1,
    )  # fmt: skip
    return replace(tiny, model=model, train=settings)


@pytest.mark.parametrize(
    ("loss", "precision"),
    thinned(product((LossConfig(), ASSISTED), ("fp32", "bf16")), (LossConfig(), "fp32"), (ASSISTED, "bf16")),
)
def test_two_steps_change_every_weight(paper, loss, precision):
    config = replace(paper, loss=loss, train=replace(paper.train, precision=precision))
    torch.manual_seed(0)
    data = load_data(config)
    step = build_step(config, build_detector(config.model, 2), torch.device("cpu"))
    step.detector.train()
    before = {name: value.detach().clone() for name, value in step.detector.named_parameters()}
    for number, batch in enumerate(list(Loader(data.train, config, data.train_frames).epoch(0))[:2]):
        step.accumulate(batch, number, detach_guide=False, share=1.0)
        step.update(number)
    sums, bad = step.read()
    assert bad is None
    assert sums[0] > 0
    still = [name for name, value in step.detector.named_parameters() if torch.equal(value, before[name])]
    assert still == []
    assert all(torch.isfinite(value).all() for value in step.detector.parameters())
    # no average: it is the trained detector
    for name, value in step.averaged.detector.named_parameters():
        assert torch.equal(value, dict(step.detector.named_parameters())[name]), name


@pytest.mark.slow
def test_a_run_from_a_backbones_file_resumes_to_the_bit(paper, tmp_path, monkeypatch):
    torch.manual_seed(3)
    trunk = ResNet(paper.model.backbone, "relu").state_dict()
    torch.save({**trunk, "fc.weight": torch.zeros(2, 512), "fc.bias": torch.zeros(2)}, tmp_path / "r.pth")
    backbone = replace(paper.model.backbone, weights=str(tmp_path / "r.pth"), weights_order="rgb")
    config = replace(paper, model=replace(paper.model, backbone=backbone))
    config = replace(config, train=replace(config.train, epochs=3, milestones=(1, 2), freeze=PAPERS_FREEZE))
    train(config, tmp_path / "whole")

    def stop(state, *_):
        if state.epochs_done == 2:
            raise KeyboardInterrupt
        return real(state, *_)

    from nanogfl.training import loop

    real = loop.run_epoch
    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "parts")
    train(config, tmp_path / "parts", resume=True)
    whole, parts = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "parts"))
    assert all(torch.equal(value, parts.weights[name]) for name, value in whole.weights.items())
    for name, value in whole.weights.items():
        if name.startswith(("backbone.conv1", "backbone.bn1", "backbone.layer1")) or name.endswith("running_mean"):
            given = trunk[name.removeprefix("backbone.")]
            assert torch.equal(value, given.flip(1) if name == "backbone.conv1.weight" else given), name
    rates = [entry["lr"] for entry in whole.training["log"]]
    assert rates == pytest.approx([0.01, 0.001, 0.0001])  # two updates per epoch, the first of them warm-up
    assert ("backbone", "ResNet-18, relu") in describe_checkpoint(tmp_path / "whole/last.pt")
    assert load_predictor(tmp_path / "whole/last.pt").config == config.model
    other = replace(config, train=replace(config.train, optimizer="adamw"))
    with pytest.raises(UserError, match=r"train\.optimizer sgd -> adamw.*: resume with"):
        train(other, tmp_path / "whole", resume=True)
