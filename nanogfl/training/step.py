"""One training step: forward, assignment, losses, backward; then clipping, optimizer and average.

B batch, H x W the network input.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from nanogfl.config import Config
from nanogfl.data.augment.colour import apply_colour
from nanogfl.data.loader import Batch
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.assign import assign
from nanogfl.loss.assign.candidates import Assignment
from nanogfl.loss.assist import AssistBranch
from nanogfl.loss.criterion import Losses, assisted_losses, losses_of_assignment
from nanogfl.loss.distill.criterion import DistilledLosses, Lesson, with_distillation
from nanogfl.loss.equalized import Equalizer
from nanogfl.model.detector import Detector, Predictions
from nanogfl.training.device import autocast, choose_precision
from nanogfl.training.distill.lessons import Lessons
from nanogfl.training.distributed.ranks import Ranks
from nanogfl.training.optim import AveragedDetector, build_optimizer
from nanogfl.training.start.freeze import STATISTICS

Module = TypeVar("Module", bound=nn.Module)
Lap = Callable[[str], None]
"""called with a phase's name when it ends: benchmarks time with it"""


class Outputs(NamedTuple):
    predictions: Predictions
    guide: Predictions | None
    """of the auxiliary branch, which then decide the assignment"""
    lesson: Lesson | None = None
    """of the teacher"""


class TrainStep:
    """Holds what a step changes: detector, auxiliary branch, optimizer, average, the account of the classes, and with
    a teacher the adapters of the features.

    Only `read` waits for the device. A step whose loss or gradient is not finite changes no weight, nor does any later
    step, so that the weights which caused it can be examined (in fp16 the scaler skips the step instead). Of several
    processes all have the same weights, and all stop when one meets a number that is not finite.
    """

    def __init__(
        self,
        config: Config,
        detector: Detector,
        averaged: AveragedDetector,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        assist: AssistBranch | None,
        ranks: Ranks | None = None,
        lessons: Lessons | None = None,
    ) -> None:
        self.ranks = ranks or Ranks(device)
        self.lessons = lessons
        self.config, self.detector, self.averaged, self.optimizer = config, detector, averaged, optimizer
        self.assist, self.device = assist, device
        self.equalizer = Equalizer(config.loss, detector.class_count, device) if config.loss.equalized else None
        self.precision = choose_precision(device, config.train.precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._stopped = torch.zeros((), device=device)
        self._bad_step = torch.full((), -1.0, device=device)
        terms = (Losses if lessons is None else DistilledLosses)._fields
        self.logged = ("loss", *terms[1:])
        """the names of the losses in the log, which calls the total the loss"""
        self.sums = torch.zeros(len(terms), device=device)
        """of every loss, since this was last set to 0; the mean over the ranks is that of whole batches, and
        every rank has it after an update"""
        self._compiled: Callable[..., Losses | DistilledLosses] | None = None
        if config.train.compile:
            mode = "reduce-overhead" if config.train.compile == "cuda_graphs" else None
            self._compiled = torch.compile(self._forward_and_losses, fullgraph=True, dynamic=False, mode=mode)

    def modules(self) -> tuple[nn.Module, ...]:
        """Those that are trained."""
        adapters = None if self.lessons is None else self.lessons.adapters
        return tuple(module for module in (self.detector, self.assist, adapters) if module is not None)

    def accumulate(
        self, batch: Batch, step: int, *, detach_guide: bool, share: float, lap: Lap = lambda _: None
    ) -> None:
        """Adds `share` of the batch's gradient to the gradients so far. `step`: its number, for `read`."""
        batch = batch.to(self.device)
        if self._compiled is not None:
            if self.config.train.compile == "cuda_graphs":
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            losses = self._compiled(batch.images, batch.colour, batch.truth, detach_guide)
            lap("forward, assignment and loss")
        else:
            losses = self._forward_and_losses(batch.images, batch.colour, batch.truth, detach_guide, lap)
        total = losses.total * share
        self.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        lap("backward")
        if self.equalizer is not None:
            self.equalizer.add(share)
        everything = torch.stack(losses._replace(positives=losses.positives * self.ranks.place.world)).detach()
        self.sums += everything
        self._watch(everything.sum(), step)

    def update(self, step: int, lap: Lap = lambda _: None) -> None:
        """Updates the weights from the gradients, and the average from the weights."""
        if self.ranks.several:
            self._average_over_ranks(step)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, self.config.train.clip_norm)
        if self.scaler.is_enabled():  # an overflow is usual while the scale adapts: the scaler leaves that step out
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self._watch(norm, step)
            self.optimizer.found_inf = self._stopped  # type: ignore[attr-defined]  # the fused kernel then does nothing
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.equalizer is not None:
            self.equalizer.update(self._stopped)
        lap("optimizer")
        self.averaged.update()
        lap("average")

    def read(self) -> tuple[list[float], int | None]:
        """`sums` over whole batches, and the number of the first step that was not finite in any process, or None.
        Waits for the device."""
        rows = self.ranks.all_of(torch.cat((self.sums, self._bad_step[None])).tolist())
        *sums, _ = (sum(column) / len(rows) for column in zip(*rows, strict=True))
        return sums, min((int(bad) for *_, bad in rows if bad >= 0), default=None)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Takes back, to the bit, what the first steps of a training within did."""
        assert not self.averaged.updates
        adapters = None if self.lessons is None else self.lessons.adapters
        parts = [
            *(self.detector, self.averaged.detector, self.assist, adapters),
            *(self.equalizer, self.scaler, self.optimizer),
        ]
        used = [part for part in parts if part is not None]
        before = copy.deepcopy([part.state_dict() for part in used])
        try:
            yield
        finally:
            for part, content in zip(used, before, strict=True):
                part.load_state_dict(content)
            self.optimizer.zero_grad(set_to_none=True)
            self.averaged.updates = 0
            self.sums.zero_()
            self._stopped.zero_()
            self._bad_step.fill_(-1)

    def _average_over_ranks(self, step: int) -> None:
        """One all-reduce of the gradients (still scaled, so that all scalers find the same overflow), the norms'
        statistics, the losses' sums and the flag of what is not finite."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if not self.scaler.is_enabled():
            self._watch(torch.stack([gradient.sum() for gradient in gradients]).sum(), step)
        self.ranks.average([*gradients, *self._moving_statistics(), self.sums, self._stopped])
        self._stopped.copy_(self._stopped > 0)

    def _moving_statistics(self) -> list[Tensor]:
        return [
            value
            for module in self.modules()
            for norm in module.modules()
            if norm.training
            for name, value in norm.named_buffers(recurse=False)
            if name in STATISTICS
        ]

    def _watch(self, value: Tensor, step: int) -> None:
        bad = ~torch.isfinite(value)
        self._bad_step = torch.where(bad & (self._bad_step < 0), float(step), self._bad_step)
        self._stopped = torch.maximum(self._stopped, bad.to(self._stopped.dtype))

    def forward(self, images: Tensor, colour: Tensor, detach_guide: bool) -> Outputs:
        """uint8 (B, H, W, 3) BGR, (B, 3, 4) colour changes -> predictions in the training precision."""
        pictures = apply_colour(images, colour)
        with autocast(self.device, self.precision):
            if self.assist is None and self.lessons is None:
                return Outputs(self.detector(pictures), None)
            features = self.detector.backbone(self.detector.normalise(pictures))
            levels = self.detector.neck(features)
            predictions = self.detector.read(self.detector.head(levels))
            guide = None if self.assist is None else self.assist(features, levels, detach_guide)
            return Outputs(predictions, guide, None if self.lessons is None else self.lessons(pictures, levels))

    def assign(self, outputs: Outputs, batch_truth: Truth) -> Assignment:
        guide = outputs.predictions if outputs.guide is None else outputs.guide
        return assign(guide, self.detector.grid, batch_truth, self.config.loss)

    def losses(self, outputs: Outputs, truth: Truth, assignment: Assignment) -> Losses | DistilledLosses:
        """With an auxiliary branch, `total` includes its loss; the parts are of the detector alone, which also is the
        one that a teacher teaches."""
        loss, grid = self.config.loss, self.detector.grid
        if outputs.guide is None:
            losses = losses_of_assignment(outputs.predictions, grid, truth, assignment, loss, self.equalizer)
        else:
            losses = assisted_losses(outputs.predictions, outputs.guide, grid, truth, assignment, loss, self.equalizer)
        if self.lessons is None or outputs.lesson is None:
            return losses
        student, pairing = outputs.predictions, self.lessons.pairing
        return with_distillation(
            losses, student, outputs.lesson, pairing, assignment, self.config.distill, beta=loss.beta
        )

    def _forward_and_losses(
        self, images: Tensor, colour: Tensor, truth: Truth, detach_guide: bool, lap: Lap | None = None
    ) -> Losses | DistilledLosses:
        outputs = self.forward(images, colour, detach_guide)
        if lap:
            lap("forward")
        assignment = self.assign(outputs, truth)
        if lap:
            lap("assignment")
        losses = self.losses(outputs, truth, assignment)
        if lap:
            lap("loss")
        return losses


def share_statistics(module: Module, config: Config, ranks: Ranks) -> Module:
    """The module with batch norms over the whole batch: of several processes on GPUs, unless train.sync_batch_norm is
    off."""
    if not ranks.shares_statistics(config.train):
        return module
    shared: Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    return shared


def build_step(
    config: Config,
    detector: Detector,
    device: torch.device,
    ranks: Ranks | None = None,
    lessons: Lessons | None = None,
) -> TrainStep:
    """Moves a fresh `detector` to the device and builds what trains it. All ranks start from rank 0's weights."""
    ranks = ranks or Ranks(device)
    detector = detector.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = nn.ModuleList([detector])
    assist: AssistBranch | None = None
    if config.loss.assist:
        assist = share_statistics(AssistBranch(detector, config.loss, config.model.activation), config, ranks)
        trained.append(assist.to(device=device, memory_format=torch.channels_last))  # type: ignore[call-overload]
    if lessons is not None:
        lessons.to(device=device)
        trained.append(lessons.adapters)
    ranks.spread(trained)
    averaged = AveragedDetector(detector, config.train.ema_decay)
    optimizer = build_optimizer(trained, config.train)
    return TrainStep(config, detector, averaged, optimizer, device, assist, ranks, lessons)
