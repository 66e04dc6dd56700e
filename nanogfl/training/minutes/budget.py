"""The time of a run with train.minutes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from nanogfl.training.checkpointing.training_state import Times

_NEW = 0.3  # weight of the newest end of an epoch: how long a file system takes to save varies


class Budget:
    """What was asked for, what is spent, and what the parts of a run take that an epoch's entry of the log leaves out.

    A run that is resumed goes on with the time that its processes have spent: the time between them does not count.
    """

    def __init__(self, minutes: float, *, started: float | None = None, reserve: float = 0.0) -> None:
        """started: the `time.perf_counter()` from which the minutes count, now by default. reserve: seconds of them
        that are needed after the training."""
        self.seconds, self.reserve = 60 * minutes, reserve
        self._started = time.perf_counter() if started is None else started
        self.evaluation = self.pictures = self.ending = 0.0
        """seconds, as in Times"""

    def spent(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._started

    def left(self) -> float:
        """Seconds for the training and its evaluations."""
        return self.seconds - self.reserve - self.spent()

    def times(self) -> Times:
        return Times(max(0.0, self.spent()), self.evaluation, self.pictures, self.ending)

    def go_on(self, times: Times) -> None:
        """Takes over what earlier processes of the run spent and measured."""
        self._started -= times.spent
        self.evaluation, self.pictures, self.ending = times.evaluation, times.pictures, times.ending

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Wraps an evaluation, its pictures, or an ending."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        if part == "ending":
            seconds = self.ending + _NEW * (seconds - self.ending)
        setattr(self, part, seconds)
