"""train.teacher: a frozen detector that the trained one learns from."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from nanogfl.config import Config, HeadConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.errors import UserError
from nanogfl.loss.distill.criterion import Pairing
from nanogfl.loss.distill.sides import bin_projection
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.detector import Detector
from nanogfl.model.summary import count_complexity
from nanogfl.training.distill.names import matching_classes


@dataclass(frozen=True)
class Teacher:
    """The detector of a checkpoint in eval mode, without gradients, built for the student's input size."""

    detector: Detector
    classes: tuple[str, ...]
    sha256: str
    """of the file"""
    name: str
    """the path, for people"""
    trained_with: InputSpec
    """its own input"""


def read_teacher(config: Config) -> Teacher | None:
    """Reads the checkpoint that train.teacher names onto the CPU; None where it names none.

    The detector is convolutional, so that it is built for the size of the student's input, whatever its own was. Its
    mean and std stay. Raises UserError for a file that is not a checkpoint of ours.
    """
    if config.train.teacher is None:
        return None
    checkpoint = load_checkpoint(config.train.teacher)
    with open(config.train.teacher, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    own = checkpoint.config.model
    model = replace(own, input=replace(own.input, hw=config.model.input.hw))
    detector = replace(checkpoint, config=replace(checkpoint.config, model=model)).build().requires_grad_(False)
    return Teacher(detector, checkpoint.classes, sha256, config.train.teacher, own.input)


def pair(teacher: Teacher, student: Detector, classes: Sequence[str], config: Config) -> Pairing:
    """What the teacher can teach, on the CPU. `classes`: the student's names.

    Levels meet by stride and points by their place in a level. Raises UserError where nothing of what `distill` asks
    for can be taught.
    """
    theirs, ours = teacher.detector.grid, student.grid
    their_strides, our_strides = teacher.detector.neck.strides, student.neck.strides
    levels = tuple((level, their_strides.index(s)) for level, s in enumerate(our_strides) if s in their_strides)
    points = levels if _anchors(ours.head) == _anchors(theirs.head) else ()
    names = matching_classes(classes, teacher.classes)
    sides = bool(config.distill.side and points and ours.head.bins and theirs.head.bins)
    pairing = Pairing(
        levels,
        _slices(ours.level_sizes, [level for level, _ in points]),
        _slices(theirs.level_sizes, [level for _, level in points]),
        torch.tensor([label for label, _ in names], dtype=torch.long),
        torch.tensor([label for _, label in names], dtype=torch.long),
        scores=bool(config.distill.cls and points and names),
        sides=sides,
        projection=bin_projection(theirs.head, ours.head) if sides else None,
    )
    if not (pairing.scores or pairing.sides or (config.distill.feature and levels)):
        raise UserError(
            f"train.teacher {teacher.name} has nothing to teach here: {'; '.join(_missing(teacher, student, names))};"
            " give a teacher that has it, set distill.feature above 0, or leave train.teacher out"
        )
    return pairing


def describe(
    teacher: Teacher, pairing: Pairing, student: Detector, classes: Sequence[str], config: Config
) -> Iterator[str]:
    """Lines for the start of a run: the teacher, what it costs, what it teaches and what it cannot."""
    cost, own = count_complexity(teacher.detector), count_complexity(student)
    (height, width), own_input = teacher.detector.hw, teacher.trained_with
    at = f"{height} x {width}"
    if (own_input.hw, own_input.resize) != (config.model.input.hw, config.model.input.resize):
        at += f" (trained at {own_input.hw[0]} x {own_input.hw[1]}, {own_input.resize})"
    yield (
        f"teacher: {teacher.name}, {cost} at {at}; a step costs {cost.macs / own.macs:.2f} forward passes of the"
        " detector more"
    )
    names = matching_classes(classes, teacher.classes)
    strides = ", ".join(str(student.neck.strides[level]) for level, _ in pairing.levels)
    taught = []
    if pairing.scores:
        taught.append(f"scores of {len(names)} of {len(classes)} classes (distill.cls {config.distill.cls:g})")
    if pairing.sides:
        how = "" if pairing.projection is None else ", brought to the bins of this head"
        taught.append(f"distributions of the sides{how} (distill.side {config.distill.side:g})")
    if config.distill.feature and pairing.levels:
        taught.append(f"features (distill.feature {config.distill.feature:g})")
    yield f"  teaches on strides {strides}: {'; '.join(taught)}"
    known = {label for label, _ in names}
    unknown = [name for label, name in enumerate(classes) if label not in known]
    if pairing.scores and unknown:
        yield f"  classes that the teacher does not know: {', '.join(unknown)}"
    if missing := list(_missing(teacher, student, names)):
        yield f"  not taught: {'; '.join(missing)}"


def _missing(teacher: Teacher, student: Detector, names: Sequence[object]) -> Iterator[str]:
    """Why something is not taught."""
    theirs, ours = teacher.detector.grid.head, student.grid.head
    if not names:
        yield "the scores, as no class has the same name in both"
    if _anchors(ours) != _anchors(theirs):
        yield "scores and sides, as only one of the two has anchors, or they are of other sizes"
    elif not (ours.bins and theirs.bins):
        who = "teacher" if ours.bins else "detector"
        yield f"the sides, as the {who}'s box {(theirs if ours.bins else ours).box} has no distributions"
    if left := [str(stride) for stride in student.neck.strides if stride not in teacher.detector.neck.strides]:
        yield f"the levels of stride {', '.join(left)}, which the teacher lacks"


def _anchors(head: HeadConfig) -> float | None:
    return head.anchor_size if head.box == "deltas" else None


def _slices(sizes: Sequence[int], levels: Sequence[int]) -> tuple[slice, ...]:
    """The points of these levels, neighbouring levels in one slice."""
    ends = list(accumulate(sizes))
    found: list[slice] = []
    for level in levels:
        start, end = ends[level] - sizes[level], ends[level]
        if found and found[-1].stop == start:
            found[-1] = slice(found[-1].start, end)
        else:
            found.append(slice(start, end))
    return tuple(found)
