"""What a training step asks of the teacher, and the adapters that only the training has."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nanogfl.config import Config
from nanogfl.loss.distill.criterion import Lesson
from nanogfl.model.detector import Detector
from nanogfl.training.distill.teacher import Teacher, pair


class Lessons:
    """A teacher with its pairing to a student. Its weights never change; the adapters are trained with the student.

    An adapter is a 1x1 convolution per level that both have, from the student's channels to the teacher's. There are
    none without distill.feature.
    """

    def __init__(self, teacher: Teacher, student: Detector, classes: Sequence[str], config: Config) -> None:
        self.teacher, self.pairing = teacher, pair(teacher, student, classes, config)
        levels = self.pairing.levels if config.distill.feature else ()
        inputs, outputs = student.head.inputs, teacher.detector.head.inputs
        self.adapters = nn.ModuleList(nn.Conv2d(inputs, outputs, 1) for _ in levels)

    def to(self, device: torch.device) -> None:
        for module in (self.teacher.detector, self.adapters):
            module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.pairing = self.pairing.to(device)

    def __call__(self, pictures: Tensor, levels: list[Tensor]) -> Lesson:
        """Pictures (B, H, W, 3) as the student sees them and the levels of its neck -> what the losses compare."""
        detector, pairs = self.teacher.detector, self.pairing.levels if len(self.adapters) else ()
        with torch.no_grad():
            theirs = detector.neck(detector.backbone(detector.normalise(pictures)))
            predictions = detector.read(detector.head(theirs))
        adapted = [adapter(levels[own]) for adapter, (own, _) in zip(self.adapters, pairs, strict=True)]
        return Lesson(predictions, [theirs[their] for _, their in pairs], adapted)
