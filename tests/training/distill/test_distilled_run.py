"""Trainings with a teacher: what it teaches, that it never changes, resume to the bit, refusals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nanogfl.config import Config, DistillConfig, HeadConfig, LossConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.loader import Loader
from nanogfl.errors import UserError
from nanogfl.loss.distill.criterion import DISTILL_PARTS
from nanogfl.model.checkpoint import load_checkpoint, weights_digest
from nanogfl.model.detector import build_detector
from nanogfl.training.datasets import load_data
from nanogfl.training.distill.lessons import Lessons
from nanogfl.training.distill.teacher import describe, pair, read_teacher
from nanogfl.training.loop import train
from nanogfl.training.step import TrainStep, build_step
from tests.representations import RETINA, matching_loss
from tests.thinned import thinned
from tests.training.test_loop import PowerCut, fingerprint

CPU = torch.device("cpu")
ASSISTED = LossConfig(assigner="dsla", assist=True, assist_channels=32)
ALL = DistillConfig(cls=1.0, side=0.25, temperature=4.0, feature=0.5)


def taught(config: Config, teacher: Path, distill: DistillConfig = ALL, **train_keys) -> Config:
    keys = {"precision": "fp32", "teacher": str(teacher), **train_keys}
    return replace(config, train=replace(config.train, **keys), distill=distill)


def make_step(config: Config) -> tuple[TrainStep, Loader]:
    data, teacher = load_data(config), read_teacher(config)
    torch.manual_seed(0)
    detector = build_detector(config.model, 2)
    lessons = None if teacher is None else Lessons(teacher, detector, data.train.classes, config)
    step = build_step(config, detector, CPU, lessons=lessons)
    for module in step.modules():
        module.train()
    return step, Loader(data.train, config, data.train_frames)


def learn(step: TrainStep, loader: Loader, epochs: int) -> list[list[float]]:
    """The mean losses of each epoch."""
    means = []
    for epoch in range(epochs):
        step.sums.zero_()
        for number, batch in enumerate(loader.epoch(epoch)):
            step.accumulate(batch, number, detach_guide=False, share=1.0)
            step.optimizer.param_groups[0]["lr"] = step.optimizer.param_groups[1]["lr"] = 4e-3
            step.update(number)
        means.append([value / loader.steps for value in step.read()[0]])
    return means


def test_the_terms_fall_and_the_teacher_stays_as_it_was(tiny, make_teacher):
    weak = replace(tiny, loss=LossConfig(cls=0.01, box=0.01, side=0.01))  # which asks for something else
    path = make_teacher(neck=NeckConfig(channels=24), head=HeadConfig(convs=1, kernel=3, reg_max=5))
    step, loader = make_step(taught(weak, path, replace(ALL, side=1.0)))
    detector = step.lessons.teacher.detector
    before = weights_digest(detector.state_dict())
    assert not detector.training
    means = learn(step, loader, 12)
    for name in DISTILL_PARTS:
        column = step.logged.index(name)
        assert means[-1][column] < 0.8 * means[0][column], name
    assert weights_digest(detector.state_dict()) == before
    assert all(p.grad is None and not p.requires_grad for p in detector.parameters())
    trained = {id(p) for group in step.optimizer.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in detector.parameters()}
    assert trained > {id(p) for p in step.lessons.adapters.parameters()}
    assert not any("adapter" in name for name in step.averaged.detector.state_dict())


def test_a_student_that_is_its_teacher_learns_nothing_from_it(tiny, make_teacher):
    path = make_teacher(classes=("rectangle", "ellipse"))
    step, loader = make_step(taught(tiny, path))
    step.detector.load_state_dict(load_checkpoint(path).weights)
    step.detector.eval()
    with torch.no_grad():
        for adapter in step.lessons.adapters:
            adapter.weight.copy_(torch.eye(16)[..., None, None])
            adapter.bias.zero_()
    batch = loader.batch(0, 0)
    outputs = step.forward(batch.images, batch.colour, False)
    losses = step.losses(outputs, batch.truth, step.assign(outputs, batch.truth))
    assert losses.positives > 0
    assert losses.distill_cls < 1e-9
    assert losses.distill_side < 1e-9
    for own, theirs in zip(outputs.lesson.adapted, outputs.lesson.levels, strict=True):
        torch.testing.assert_close(own, theirs)


@pytest.mark.parametrize("loss", [LossConfig(), ASSISTED])
def test_a_teacher_that_teaches_nothing_changes_nothing(tiny, make_teacher, loss):
    """To the bit: what a teacher adds is only added."""
    config = replace(tiny, loss=loss, train=replace(tiny.train, precision="fp32"))
    plain, loader = make_step(config)
    step, _ = make_step(taught(config, make_teacher(), DistillConfig(1.0, 0.25)))
    step.lessons.pairing = replace(step.lessons.pairing, scores=False, sides=False)
    for one in (plain, step):
        learn(one, loader, 1)
    assert weights_digest(plain.detector.state_dict()) == weights_digest(step.detector.state_dict())


def test_what_is_taught_is_logged_and_drawn(tiny, make_teacher, tmp_path, capsys):
    train(taught(tiny, make_teacher(), epochs=1), tmp_path / "run")
    entry = json.loads((tmp_path / "run/log.jsonl").read_text())
    parts = {name: entry[name] for name in DISTILL_PARTS}
    assert all(value > 0 for value in parts.values())
    usual = entry["cls"] + 2 * entry["box"] + 0.25 * entry["side"]
    added = parts["distill_cls"] + 0.25 * parts["distill_side"] + 0.5 * parts["distill_feature"]
    assert entry["loss"] == pytest.approx(usual + added, rel=1e-5)
    out = capsys.readouterr().out
    assert "teacher:" in out
    assert "GMACs" in out
    assert "scores of 1 of 2 classes" in out
    assert "does not know: rectangle" in out
    assert "distill_side" in out
    assert len(load_checkpoint(tmp_path / "run/best.pt").facts["teacher_sha256"]) == 64


@pytest.mark.slow
@pytest.mark.parametrize("loss", thinned([LossConfig(classification="eqfl"), ASSISTED], ASSISTED))
def test_a_run_that_was_cut_ends_as_if_it_had_not_been(tiny, make_teacher, tmp_path, monkeypatch, loss):
    config = taught(replace(tiny, loss=loss), make_teacher(neck=NeckConfig(channels=24)), epochs=2, save_every=0.0)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(config, whole)
    real = TrainStep.accumulate

    def failing(self, batch, done, **keys):
        if done == 3:  # within the second epoch
            raise PowerCut
        real(self, batch, done, **keys)

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "accumulate", failing)
        with pytest.raises(PowerCut):
            train(config, cut)
    assert load_checkpoint(cut / "last.pt").training["unfinished"] is not None
    train(config, cut, resume=True)
    assert fingerprint(cut) == fingerprint(whole)
    first, second = (load_checkpoint(folder / "last.pt").training for folder in (whole, cut))
    assert len(first["adapters"]) == 2 * 4
    assert weights_digest(first["adapters"]) == weights_digest(second["adapters"])
    assert first["teacher"] == second["teacher"]


def test_another_teacher_is_refused_and_nothing_is_lost(tiny, make_teacher, tmp_path):
    config, run = taught(tiny, make_teacher(), epochs=1), tmp_path / "run"
    train(config, run)
    before = (run / "last.pt").read_bytes()

    def refusal(now: Config) -> str:
        with pytest.raises(UserError) as raised:
            train(now, run, resume=True)
        assert "\n" not in str(raised.value)
        assert (run / "last.pt").read_bytes() == before
        return str(raised.value)

    other = taught(tiny, make_teacher("other.pt", seed=8), epochs=2)
    assert "trained with another teacher" in refusal(other)
    assert "now there is none" in refusal(replace(tiny, train=replace(config.train, teacher=None)))
    assert "distill.feature 0.5 -> 0" in refusal(replace(config, distill=replace(ALL, feature=0.0)))
    moved = (tmp_path / "teacher.pt").rename(tmp_path / "moved.pt")
    assert "does not exist" in refusal(config)
    # the same file under another name, and other weights of the losses, are fine
    train(taught(tiny, moved, replace(ALL, cls=0.5, feature=0.1), epochs=2), run, resume=True)

    plain = tmp_path / "plain"
    train(replace(tiny, train=replace(tiny.train, epochs=1)), plain)
    with pytest.raises(UserError, match="trained without a teacher"):
        train(taught(tiny, moved), plain, resume=True)


# What meets


def paired(config: Config, classes: tuple[str, ...] = ("rectangle", "ellipse")):
    teacher, student = read_teacher(config), build_detector(config.model, len(classes))
    pairing = pair(teacher, student, classes, config)
    return pairing, list(describe(teacher, pairing, student, classes, config))


def test_a_teacher_runs_at_the_students_size(tiny, make_teacher):
    pairing, lines = paired(taught(tiny, make_teacher(input=InputSpec((128, 128)))))
    assert "at 64 x 96 (trained at 128 x 128, stretch)" in lines[0]
    assert pairing.points == pairing.teacher_points == (slice(0, 96 + 24 + 6 + 2),)


def test_levels_meet_by_stride(tiny, make_teacher):
    fpn = NeckConfig("fpn", 16, extra_level=False)
    pairing, lines = paired(taught(tiny, make_teacher(neck=NeckConfig("pan", 16, extra_level=False))))
    assert pairing.levels == ((0, 0), (1, 1), (2, 2))
    assert pairing.points == (slice(0, 126),)
    assert any("the levels of stride 64, which the teacher lacks" in line for line in lines)
    config = replace(tiny, model=replace(tiny.model, neck=NeckConfig("pan", 16, extra_level=False)))
    pairing, _ = paired(taught(config, make_teacher(neck=fpn)))
    assert pairing.levels == ((0, 0), (1, 1), (2, 2))


def test_a_teacher_of_other_classes_teaches_sides_and_features(tiny, make_teacher):
    config = taught(tiny, make_teacher(classes=("cat", "dog", "cow")))
    pairing, lines = paired(config)
    assert (pairing.scores, pairing.sides) == (False, True)
    assert any("no class has the same name" in line for line in lines)
    step, loader = make_step(config)
    losses = dict(zip(step.logged, learn(step, loader, 1)[0], strict=True))
    assert losses["distill_cls"] == 0
    assert min(losses["distill_side"], losses["distill_feature"]) > 0


def test_a_box_without_distributions_is_not_taught(tiny, make_teacher):
    pairing, lines = paired(taught(tiny, make_teacher(head=HeadConfig(1, 3, 5, box="dirac"))))
    assert (pairing.scores, pairing.sides) == (True, False)
    assert any("the teacher's box dirac has no distributions" in line for line in lines)


def test_anchors_only_meet_the_same_anchors(tiny, make_teacher):
    path = make_teacher("retina.pt", head=RETINA, loss=matching_loss(RETINA))
    config = replace(tiny, model=replace(tiny.model, head=RETINA), loss=matching_loss(RETINA))
    pairing, _ = paired(taught(config, path))
    assert (pairing.scores, pairing.sides) == (True, False)
    pairing, lines = paired(taught(tiny, path))
    assert (pairing.scores, pairing.points) == (False, ())
    assert any("anchors" in line for line in lines)
    with pytest.raises(UserError, match="nothing to teach here"):
        paired(taught(tiny, path, DistillConfig()))


def test_a_file_that_is_no_checkpoint_is_refused(tiny, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_teacher(taught(tiny, tmp_path / "none.pt"))
    (tmp_path / "odd.pt").write_bytes(b"odd")
    with pytest.raises(UserError, match="not a nanogfl checkpoint"):
        read_teacher(taught(tiny, tmp_path / "odd.pt"))


def test_a_teacher_that_may_teach_nothing_is_refused(tiny, make_teacher):
    with pytest.raises(ValueError, match="teaches nothing"):
        taught(tiny, make_teacher(), DistillConfig(0.0, 0.0))


@pytest.mark.slow
@pytest.mark.exhaustive  # tests/training/test_step.py traces the rest
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_the_step_is_one_graph_with_the_same_losses(tiny, make_teacher):
    config = taught(tiny, make_teacher(head=HeadConfig(convs=1, kernel=3, reg_max=5)))
    step, _ = make_step(config)
    data = load_data(config)
    batch = Loader(data.train, config, data.train_frames, pad=True).batch(0, 0)
    step.detector.eval()
    traced = torch.compile(step._forward_and_losses, fullgraph=True, dynamic=False, backend="aot_eager")
    found = traced(batch.images, batch.colour, batch.truth, False)
    expected = step._forward_and_losses(batch.images, batch.colour, batch.truth, False)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_bf16_teaches_about_the_same(tiny, make_teacher):
    losses = []
    for precision in ("fp32", "bf16"):
        step, loader = make_step(taught(tiny, make_teacher(), precision=precision))
        batch = loader.batch(0, 0)
        losses.append(torch.stack(step._forward_and_losses(batch.images, batch.colour, batch.truth, False)))
    torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=0.01)
