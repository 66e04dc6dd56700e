"""What a training tells the code around it: a base class for callbacks, and what they are given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nanogfl.config import Config
from nanogfl.evaluation.coco_ap import NO_OBJECTS, Report
from nanogfl.training.checkpointing.run_dir import BEST, LAST


@dataclass(frozen=True)
class Begun:
    """A training that starts or goes on."""

    run_dir: Path
    config: Config
    classes: tuple[str, ...]
    epochs_done: int
    """whole epochs before this start; 0 for a new run"""
    resumed: bool


@dataclass(frozen=True)
class Outcome:
    """What a training returns."""

    run_dir: Path
    best_ap: float | None
    """None where the validation set gives no AP"""
    best_epoch: int
    """of best.pt"""
    report: Report
    """of the last epoch"""

    @property
    def best(self) -> Path:
        """The checkpoint of `best_epoch`, its weights averaged."""
        return self.run_dir / BEST

    @property
    def last(self) -> Path:
        """The training state after the last epoch, to resume from."""
        return self.run_dir / LAST

    def __str__(self) -> str:
        if self.best_ap is None:
            return f"no AP: {NO_OBJECTS}; the newest evaluated epoch, {self.best_epoch}, is {self.best}"
        return f"best AP {self.best_ap:.3f} after epoch {self.best_epoch}: {self.best}"


class Callback:
    """Base class: every method does nothing. Override those you need, and give an instance to `train(callbacks=...)`.

    Methods are called between two updates of the weights, in rank 0 alone, in the callbacks' order. They cannot change
    the training: they are given copies, and torch's random state is put back after each call. `epoch_ended` and
    `checkpoint_written` are called when the file is on the disk.

    An exception ends the training and reaches the caller of `train`. Nothing that was saved is lost: the next start
    with `resume` goes on from there. `training_ended` is still called on every callback that was started.
    """

    def training_started(self, begun: Begun) -> None:
        """Before the first step, with everything read and checked."""

    def evaluation_done(self, epoch: int, report: Report) -> None:
        """After the validation at the end of epoch number `epoch`, counted from 1."""

    def checkpoint_written(self, path: Path) -> None:
        """After last.pt or best.pt was written; `path` is the whole, new file."""

    def epoch_ended(self, entry: Mapping[str, Any]) -> None:
        """After an epoch, with its entry of log.jsonl: epoch (from 1), step, lr, losses; AP where it was evaluated."""

    def training_ended(self, outcome: Outcome | None, error: BaseException | None) -> None:
        """At the end: the outcome of a whole training, else what ended it (Interrupted after a signal)."""


class Callbacks:
    """Those of one training. Empty in ranks other than 0."""

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        self._callbacks = callbacks
        self.outcome: Outcome | None = None
        """set by the training before it ends"""

    def tell(self, call: Callable[[Callback], None]) -> None:
        """Calls each, without a trace in torch's random state."""
        with torch.random.fork_rng(devices=[]):
            for callback in self._callbacks:
                call(callback)

    @contextmanager
    def started(self, begun: Begun) -> Iterator[None]:
        """Around the training: each callback that was started is told of the end, even if another one raises."""
        with ExitStack() as stack:

            def start(callback: Callback) -> None:
                def end(_kind: object, error: BaseException | None, _trace: object) -> None:
                    callback.training_ended(self.outcome if error is None else None, error)

                callback.training_started(begun)
                stack.push(end)

            self.tell(start)
            yield
