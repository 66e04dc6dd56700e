"""The losses of a student beside those of the objects: weights, places and means."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from nanogfl.config import DistillConfig
from nanogfl.loss.assign.candidates import Assignment
from nanogfl.loss.criterion import Losses
from nanogfl.loss.distill.features import feature_error, standardised
from nanogfl.loss.distill.sides import side_divergence
from nanogfl.loss.losses import quality_focal_loss
from nanogfl.loss.normalisers import mean_over_ranks
from nanogfl.model.boxes.decode import decode_scores
from nanogfl.model.detector import Predictions
from nanogfl.model.heads.dgqp import joint_logits


class Lesson(NamedTuple):
    """What teacher and student say about a batch."""

    predictions: Predictions
    """the teacher's, at its N_t points"""
    levels: list[Tensor]
    """of the teacher's neck, (B, channels, h, w), where the student has the stride as well; empty without the loss of
    the features"""
    adapted: list[Tensor]
    """the student's levels in the channels of the teacher's"""


@dataclass(frozen=True)
class Pairing:
    """Which parts of a student's output belong to which of the teacher's."""

    levels: tuple[tuple[int, int], ...]
    """numbers of the student's and the teacher's levels that have the same stride"""
    points: tuple[slice, ...]
    """the M points of these levels among the student's N; empty where the points of the two mean different things"""
    teacher_points: tuple[slice, ...]
    """the same points among the teacher's"""
    classes: Tensor
    """(K,) the student's labels of the classes that both know"""
    teacher_classes: Tensor
    """(K,) the teacher's"""
    scores: bool
    """the class scores are taught"""
    sides: bool
    """the distributions are taught"""
    projection: Tensor | None
    """of `bin_projection`"""

    def to(self, device: torch.device) -> "Pairing":
        projection = None if self.projection is None else self.projection.to(device)
        ours, theirs = self.classes.to(device), self.teacher_classes.to(device)
        return replace(self, classes=ours, teacher_classes=theirs, projection=projection)


class DistilledLosses(NamedTuple):
    """`Losses`, whose `total` includes the following."""

    total: Tensor
    cls: Tensor
    box: Tensor
    side: Tensor
    quality: Tensor
    positives: Tensor
    distill_cls: Tensor
    """quality focal loss with the teacher's scores as targets"""
    distill_side: Tensor
    """divergence from the teacher's distributions"""
    distill_feature: Tensor
    """squared error of the features"""


DISTILL_PARTS = DistilledLosses._fields[len(Losses._fields) :]
"""its terms that `Losses` lacks; 0 where they are off"""


def with_distillation(
    losses: Losses,
    student: Predictions,
    lesson: Lesson,
    pairing: Pairing,
    assignment: Assignment,
    config: DistillConfig,
    beta: float,
) -> DistilledLosses:
    """The losses of a batch and what the teacher adds to them. `beta`: of the quality focal loss.

    The loss of the scores is a sum over points and classes, divided by the number of positives like the classification
    loss. That of the sides is a mean over points and sides, weighted by the teacher's best score. Neither includes
    points in ignored regions; both divisors are means over all processes.
    """
    cls = side = feature = torch.zeros_like(losses.positives)
    if pairing.scores or pairing.sides:
        cls, side = _at_points(student, lesson.predictions, pairing, assignment, config, beta)
    if lesson.adapted:
        with torch.no_grad():
            targets = standardised(lesson.levels)
        feature = feature_error(lesson.adapted, targets)
    total = losses.total + config.cls * cls + config.side * side + config.feature * feature
    return DistilledLosses(*losses._replace(total=total), cls, side, feature)


def _at_points(
    student: Predictions,
    teacher: Predictions,
    pairing: Pairing,
    assignment: Assignment,
    config: DistillConfig,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """The losses of the scores and of the sides."""
    teacher = _picked(teacher, pairing.teacher_points)
    learned = _picked(student, pairing.points)
    images, count = assignment.ignored.shape
    assigned = torch.zeros(images * count + 1, device=assignment.ignored.device)
    positive = assigned.scatter(0, assignment.slot(), assignment.positive.float())[:-1].view(images, count)
    place = positive if config.side_points == "positives" else (~assignment.ignored).float()
    with torch.no_grad():
        best = decode_scores(teacher.cls_logits.amax(dim=-1, keepdim=True), teacher.quality_logits)[..., 0]  # (B, M)
        weight = best * _pick(place, pairing.points)
        sums = torch.stack((assignment.positive.sum().float(), weight.sum()))
        positives_mean, weight_sum = mean_over_ranks(sums).clamp(min=1).unbind()

    cls = side = torch.zeros_like(positives_mean)
    if pairing.scores:
        with torch.no_grad():
            scores = decode_scores(teacher.cls_logits[..., pairing.teacher_classes], teacher.quality_logits)
        logits = learned.cls_logits
        if learned.quality_logits is not None:
            logits = joint_logits(logits, learned.quality_logits)  # of the score, as the teacher's
        points = quality_focal_loss(logits[..., pairing.classes], scores, beta).sum(dim=-1)
        cls = (points * ~_pick(assignment.ignored, pairing.points)).sum() / positives_mean
    if pairing.sides:
        divergence = side_divergence(learned.box_pred, teacher.box_pred, pairing.projection, config.temperature)
        side = (divergence.sum(dim=-1) * weight).sum() / (4 * weight_sum)
    return cls, side


def _picked(predictions: Predictions, points: tuple[slice, ...]) -> Predictions:
    logits, boxes, quality = predictions
    return Predictions(_pick(logits, points), _pick(boxes, points), None if quality is None else _pick(quality, points))


def _pick(values: Tensor, points: tuple[slice, ...]) -> Tensor:
    """(B, N, ...) -> (B, M, ...)."""
    return values[:, points[0]] if len(points) == 1 else torch.cat([values[:, part] for part in points], dim=1)
