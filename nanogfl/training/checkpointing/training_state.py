"""What last.pt holds besides the averaged weights, and the checks before a run goes on from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, FiniteFloat, JsonValue, TypeAdapter, ValidationError
from torch import Tensor

from nanogfl.errors import UserError
from nanogfl.loss.criterion import LOSS_PARTS
from nanogfl.loss.distill.criterion import DISTILL_PARTS

_Count = Annotated[int, Field(ge=0, strict=True)]
_Seconds = Annotated[FiniteFloat, Field(ge=0)]
_CONFIG = {"arbitrary_types_allowed": True}


@dataclass(frozen=True)
class Unfinished:
    """An epoch that was interrupted between two updates of the weights."""

    batches: Annotated[int, Field(gt=0, strict=True)]
    """done so far"""
    of: _Count
    sums: Tensor
    """of the losses, as TrainStep.sums"""
    seconds: _Seconds
    waited: _Seconds

    __pydantic_config__ = _CONFIG


@dataclass(frozen=True)
class Times:
    """Seconds of a run with train.minutes."""

    spent: _Seconds
    """so far, of all its processes one after the other"""
    evaluation: _Seconds
    """of the newest evaluation"""
    pictures: _Seconds
    """of the pictures after it"""
    ending: _Seconds
    """of an epoch's end, mostly for saving"""


@dataclass(frozen=True)
class TrainingState:
    """As saved. Data and learning rate are functions of the step and are not kept, nor is what the log tells."""

    detector: dict[str, Tensor]
    """the trained weights, of which the checkpoint's are the average"""
    optimizer: dict[str, Any]
    torch_rng: Tensor
    ema_updates: _Count
    epoch: _Count
    """whole epochs"""
    log: list[dict[str, JsonValue]]
    """one entry per whole epoch"""
    unfinished: Unfinished | None = None
    """None after whole epochs, which is all that older versions saved"""
    assist: dict[str, Tensor] | None = None
    equalizer: dict[str, Tensor] | None = None
    scaler: dict[str, int | FiniteFloat] = field(default_factory=dict)
    teacher: str | None = None
    """sha256 of train.teacher's file"""
    adapters: dict[str, Tensor] | None = None
    """of the features"""
    times: Times | None = None
    """None without train.minutes"""

    __pydantic_config__ = _CONFIG

    def to_dict(self) -> dict[str, Any]:
        """A plain dict for torch.save. Tensors are not copied."""
        parts = {name: getattr(self, name) for name in ("unfinished", "times")}
        return {**vars(self), **{name: part and dict(vars(part)) for name, part in parts.items()}}


def read_training(content: dict[str, Any], path: Path) -> TrainingState:
    """Checks the training part of the checkpoint at `path`. Raises UserError where it is not as a run saves it.

    Whether the tensors fit the detector is checked when they are loaded (`require_tensors`).
    """
    try:
        state: TrainingState = TypeAdapter(TrainingState).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise cannot_resume(path, f"{where}: {first['msg'].lower()}") from None
    if len(state.log) != state.epoch:
        raise cannot_resume(path, f"{state.epoch} whole epochs, and {len(state.log)} in its log")
    for number, entry in enumerate(state.log, start=1):
        if entry.get("epoch") != number:
            raise cannot_resume(path, f"entry {number} of its log is of epoch {entry.get('epoch')}")
        figures = [entry.get(name, 0.0) for name in ("loss", *LOSS_PARTS, *DISTILL_PARTS)]
        figures += [entry[name] for name in ("ap", "ap50") if entry.get(name) is not None]
        if not all(isinstance(figure, int | float) for figure in figures):
            raise cannot_resume(path, f"entry {number} of its log has a loss or an AP that is no number")
    return state


def cannot_resume(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} cannot be resumed, for its state of training is not as a run saves it ({what}): move it away to go on"
        " from the previous.pt beside it, or start a new run, with --init-from a checkpoint that is whole"
    )


def require_tensors(path: Path, what: str, found: Mapping[Any, object], expected: Mapping[Any, Tensor]) -> None:
    """Raises UserError where names, shapes (any) or types differ from those expected, or a number is not finite."""
    if odd := sorted(map(str, found.keys() ^ expected.keys())):
        raise cannot_resume(path, f"{what}: {odd[0]} {'is missing' if odd[0] in map(str, expected) else 'is unknown'}")
    for name, tensor in expected.items():
        value = found[name]
        if not isinstance(value, Tensor) or (value.shape, value.dtype) != (tensor.shape, tensor.dtype):
            raise cannot_resume(path, f"{what}: {name} is no {_kind(tensor)}")
        if not torch.isfinite(value).all():
            raise cannot_resume(path, f"{what}: {name} is not finite")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} tensor of shape {list(tensor.shape)}"
