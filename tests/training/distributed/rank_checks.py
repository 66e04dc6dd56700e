"""What two processes find out together, for test_ranks.py: python rank_checks.py ROOT OUT, started by run_ranks.

OUT gets a file for each rank. `CASES` and `learn` are the test's, too: it computes the same in one process.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nanogfl.config import (
    AugmentConfig,
    BackboneConfig,
    Config,
    DataConfig,
    DistillConfig,
    HeadConfig,
    LossConfig,
    ModelConfig,
    NeckConfig,
    TrainConfig,
)
from nanogfl.contract.detections import Selection
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.loader import Batch, Loader
from nanogfl.data.truth import Truth
from nanogfl.errors import Interrupted, UserError
from nanogfl.evaluation.coco_ap import Report
from nanogfl.model.checkpoint import weights_digest
from nanogfl.model.detector import build_detector
from nanogfl.model.predictor import Predictor
from nanogfl.training import validate as validate_module
from nanogfl.training.checkpointing.state import RunState
from nanogfl.training.datasets import Data, load_data
from nanogfl.training.distill.lessons import Lessons
from nanogfl.training.distill.teacher import Teacher
from nanogfl.training.distributed.meeting import joined
from nanogfl.training.distributed.ranks import Ranks
from nanogfl.training.interrupt import Interrupt
from nanogfl.training.minutes.measure import measure
from nanogfl.training.minutes.plan import Costs
from nanogfl.training.optim import AveragedDetector
from nanogfl.training.start.freeze import FrozenParts
from nanogfl.training.step import TrainStep, build_step
from nanogfl.training.validate import validate

CPU = torch.device("cpu")
SIDE = (64, 96)
ACCOUNT = torch.tensor([[2.0, 1.0], [3.0, 4.0]], dtype=torch.float64)  # of steps before: P and N of two classes
MIXED = AugmentConfig(mosaic=0.5, mixup=0.5, copy_paste=0.5)
CASES = {
    "qfl": LossConfig(),
    "no objects in rank 1": LossConfig(),
    "eqfl": LossConfig(classification="eqfl"),
    "assisted": LossConfig(assigner="dsla", assist=True, assist_channels=16),
    "taught": LossConfig(),
}
TAUGHT = DistillConfig(cls=1.0, side=0.25, side_points="all", temperature=4.0, feature=2.0)


def make_config(root: Path) -> Config:
    """Batches of 4, which two processes share."""
    model = ModelConfig(
        InputSpec(SIDE),
        "relu",
        BackboneConfig("0.5x"),
        NeckConfig(channels=16),
        HeadConfig(convs=1, kernel=3, prior=0.2),
        selection=Selection(score=1e-3),
    )
    train = TrainConfig(epochs=2, batch_size=4, clip_norm=1e9, device="cpu", precision="fp32", lr=0.01, warmup_steps=0)
    return Config(model, DataConfig(str(root), workers=0), MIXED, train=train)


def make_step(config: Config, ranks: Ranks | None = None, *, taught: bool = False) -> TrainStep:
    torch.manual_seed(0)
    detector = build_detector(config.model, 2)
    if not taught:
        return build_step(config, detector, CPU, ranks)
    config = replace(config, distill=TAUGHT)
    teacher = build_detector(config.model, 2).eval().requires_grad_(False)
    teacher = Teacher(teacher, ("rectangle", "ellipse"), "0" * 64, "teacher", config.model.input)
    lessons = Lessons(teacher, detector, teacher.classes, config)
    return build_step(config, detector, CPU, ranks, lessons)


def without_objects(batch: Batch, first: int) -> Batch:
    """None in the pictures from `first` on."""
    truth = batch.truth
    kept = truth.image < first
    empty = Truth(truth.boxes[kept], truth.labels[kept], truth.image[kept], *truth[3:])
    return batch._replace(truth=empty)


def learn(case: str, config: Config, batch: Batch, ranks: Ranks | None = None) -> dict[str, Any]:
    """An update from the batch by a network in float64, whose batch norms keep their statistics; losses are float32."""
    step = make_step(replace(config, loss=CASES[case]), ranks, taught=case == "taught")
    detector = step.detector.eval()
    others = [*([step.assist.eval()] if step.assist else []), *([step.lessons.adapters] if step.lessons else [])]
    for network in (detector, *([step.lessons.teacher.detector] if step.lessons else [])):
        others += [network.backbone, network.neck, network.head]
        network.mean, network.std = network.mean.double(), network.std.double()
    for module in others:
        module.double()
    step.averaged = AveragedDetector(detector, 0.9)
    if step.equalizer is not None:
        step.equalizer.totals += ACCOUNT
    forward = step.forward
    step.forward = lambda *arguments: in_float(forward(*arguments))  # type: ignore[method-assign]
    gradients: list[Tensor] = []
    step.optimizer.register_step_pre_hook(
        lambda *_: gradients.extend(p.grad.clone() for p in step._parameters if p.grad is not None)
    )
    step.accumulate(batch, 0, detach_guide=False, share=1.0)
    step.update(0)
    return {
        "gradients": gradients,
        "read": step.read(),
        "account": None if step.equalizer is None else step.equalizer.totals - ACCOUNT,
        "weights": [p.detach().clone() for p in step._parameters],
    }


def in_float(value: Any) -> Any:
    """Every tensor in nested tuples and lists."""
    if isinstance(value, Tensor) or value is None:
        return value if value is None else value.float()
    return [in_float(part) for part in value] if isinstance(value, list) else type(value)(*map(in_float, value))


def train_twice(config: Config, batch: Batch, ranks: Ranks | None = None) -> list[dict[str, Tensor]]:
    """The states of the detector and its average after each of two updates, with batch norms that see the batch."""
    step, states = make_step(config, ranks), []
    step.detector.train()
    for done in range(2):
        step.accumulate(batch, done, detach_guide=False, share=1.0)
        step.update(done)
        for detector in (step.detector, step.averaged.detector):
            states.append({name: value.clone() for name, value in detector.state_dict().items()})
    return states


def meet_a_bad_loss(config: Config, batch: Batch, ranks: Ranks) -> dict[str, Any]:
    """The loss of rank 1 alone is no number in step 1, while its gradient is one."""
    step, real = make_step(config, ranks), TrainStep.losses
    step.detector.train()
    after = []
    for done in range(3):
        if done == 1 and not ranks.first:
            TrainStep.losses = lambda *args: (x := real(*args))._replace(cls=x.cls * float("nan"))  # type: ignore[method-assign]
        step.accumulate(batch, done, detach_guide=False, share=1.0)
        TrainStep.losses = real  # type: ignore[method-assign]
        step.update(done)
        after.append([p.detach().clone() for p in step._parameters])
    return {"read": step.read()[1], "weights": after}


def pictures(config: Config, data: Data, ranks: Ranks) -> list[Batch]:
    loader = Loader(data.train, config, data.train_frames, rank=ranks.place.rank, world=ranks.place.world)
    return [*loader.epoch(0), *loader.epoch(1)]


def detect_all(config: Config, data: Data, ranks: Ranks) -> tuple[list[Any], Report]:
    """What is scored, in rank 0, and what every rank is told of it. In batches of one picture."""
    seen: list[Any] = []

    def note(_dataset: object, detections: list[Any], _seconds: float) -> Report:
        seen.extend((found.boxes, found.scores) for found in detections)
        return Report(0.5, None, None, None, None, None, len(detections), 0.0, ())

    validate_module.BATCH, validate_module.score = 1, note  # type: ignore[assignment]
    predictor = Predictor(make_step(config).averaged.detector, config.model, data.train.classes)
    return seen, validate(predictor, data.val, data.val_frames, ranks)


def end_an_epoch(config: Config, data: Data, ranks: Ranks, run_dir: Path) -> tuple[list[str], float, int]:
    """Each rank in a folder of its own: the files there, the best AP, the epochs that are done."""
    run_dir.mkdir()
    state = RunState(run_dir, config, data, make_step(config, ranks), 2)
    state.end_epoch({"epoch": 1, "ap": 0.5})
    return sorted(path.name for path in run_dir.iterdir()), state.best_ap, state.epochs_done


def measure_costs(config: Config, data: Data, ranks: Ranks, run_dir: Path) -> tuple[Costs, bool]:
    """What train.minutes measures, and whether that left the training as it was."""
    step, loader = (
        make_step(config, ranks),
        Loader(data.train, config, data.train_frames, rank=ranks.place.rank, world=2),
    )
    before = weights_digest(step.detector.state_dict())
    run_dir.mkdir()
    state = RunState(run_dir, config, data, step, loader.steps)
    costs = measure(state, FrozenParts(step.detector, ()), loader, 0.0)
    return costs, before == weights_digest(step.detector.state_dict()) and not step.optimizer.state


def sentence(action: Callable[[], object]) -> str:
    try:
        action()
    except (UserError, Interrupted) as error:
        return str(error)
    return ""


def signal_to_rank_1(ranks: Ranks) -> list[object]:
    """Before the agreement nobody is asked; after it both are."""
    with Interrupt(lambda: "stopped") as stop:
        if not ranks.first:
            os.kill(os.getpid(), signal.SIGTERM)
        before, due = sentence(stop.check), stop.agree(ranks, due=ranks.first)
        return [before, due, sentence(stop.check), stop.asked]


def wait_in_vain(ranks: Ranks, flag: Path) -> str:
    """Rank 1 does not come until rank 0 has given up."""
    if ranks.first:
        text = sentence(lambda: replace(ranks, minutes=0.01).meet("the test"))
        flag.touch()
        return text
    while not flag.exists():
        time.sleep(0.05)
    return ""


def main() -> None:
    torch.set_num_threads(1)
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    config = make_config(root)
    with joined(CPU, 1.0) as ranks:
        rank = ranks.place.rank
        data = load_data(config)
        found: dict[str, Any] = {
            "pictures": [[*batch[:2], batch.truth.boxes] for batch in pictures(config, data, ranks)]
        }
        batch = Loader(data.train, config, data.train_frames, rank=rank, world=2).batch(0, 0)
        found["trained"] = train_twice(config, batch, ranks)
        found["bad"] = meet_a_bad_loss(config, batch, ranks)
        seen, report = detect_all(config, data, ranks)
        found["detections"] = list(seen)  # what follows is scored, too
        found["report"] = (report.ap, report.images)
        found["ended"] = end_an_epoch(config, data, ranks, out / f"run{rank}")
        found["costs"] = measure_costs(config, data, ranks, out / f"measured{rank}")
        found["signal"] = signal_to_rank_1(ranks)
        found["told"] = [
            ranks.all_of(f"rank {rank}"),
            ranks.of_first(rank),
            ranks.collect(rank),
            ranks.largest(rank, -rank),
        ]
        found["other"] = sentence(lambda: ranks.require_same("data set", rank))
        for case in CASES:
            empty = case == "no objects in rank 1" and rank == 1
            found[case] = learn(case, config, without_objects(batch, 0) if empty else batch, ranks)
        found["vain"] = wait_in_vain(ranks, out / "given_up")
        torch.save(found, out / f"{rank}.pt")


if __name__ == "__main__":
    main()
