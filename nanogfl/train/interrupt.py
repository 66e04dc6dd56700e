"""Ctrl-C, SIGTERM and SIGHUP during a training: it ends in order; one more Ctrl-C ends it at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

from nanogfl.errors import STOP_SIGNALS, Interrupted
from nanogfl.train.distributed.ranks import Ranks


class Interrupt:
    """While entered it notes the first signal, and gives a Ctrl-C after it to whoever handled that before.

    The other signals that follow say nothing new: a service manager sends SIGTERM to every process, and a launcher
    passes its own on; a terminal that is closed sends SIGHUP twice. In a thread other than the main one it does
    nothing: Python leaves signals to the main thread. A signal that the process ignores (a background job's Ctrl-C)
    stays ignored.
    """

    def __init__(self, how_to_go_on: Callable[[], str]) -> None:
        """`how_to_go_on`: the sentence for people, asked for when the state is saved."""
        self._came: signal.Signals | None = None
        self.asked: signal.Signals | None = None
        """what all processes have agreed on"""
        self._how_to_go_on = how_to_go_on
        self._before: dict[signal.Signals, Any] = {}
        self._at_once = False

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):  # None: not Python's, which could not be put back
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def check(self) -> None:
        """Raises Interrupted if that was agreed. To be called where everything is saved."""
        self._raise(self.asked)

    def agree(self, ranks: Ranks, *, due: bool = False) -> bool:
        """A signal that came to any process is `asked` of all from here on -> whether `due` is true of any.

        All call it at the same places: who looked at its own signals would leave the others waiting.
        """
        came, any_due = ranks.largest(self._came or 0, int(due))
        self.asked = signal.Signals(came) if came else None
        return bool(any_due)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """For what is saved already and can be repeated: within, a signal raises Interrupted wherever it finds us."""
        self._at_once = True
        try:
            self._raise(self._came)
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._came is not None:
            return
        self._came = signal.Signals(number)
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, self._before.pop(signal.SIGINT))
        if self._at_once:
            self._raise(self._came)
        with suppress(OSError):  # nobody may be reading; print could meet itself in the middle of a line
            os.write(2, b"\nnanogfl: stopping after this update of the weights; one more Ctrl-C ends at once\n")

    def _raise(self, number: signal.Signals | None) -> None:
        if number is not None:
            raise Interrupted(self._how_to_go_on(), number)

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}
