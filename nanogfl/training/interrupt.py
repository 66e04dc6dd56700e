"""Ctrl-C, SIGTERM and SIGHUP during a training: it ends in order. One more Ctrl-C ends it at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

from nanogfl.errors import STOP_SIGNALS, Interrupted
from nanogfl.training.distributed.ranks import Ranks


class Interrupt:
    """A context that notes the first signal. A second Ctrl-C goes to the handler that was there before.

    Other signals after the first are ignored: a service manager sends SIGTERM to every process while a launcher passes
    its own on, and a closed terminal sends SIGHUP twice. A signal that the process ignores (a background job's Ctrl-C)
    stays ignored. Outside the main thread the context does nothing, because Python handles signals there alone.
    """

    def __init__(self, how_to_go_on: Callable[[], str]) -> None:
        """`how_to_go_on` gives the message of Interrupted; it is called when the state is saved."""
        self._came: signal.Signals | None = None
        self.asked: signal.Signals | None = None
        """the signal that all processes have agreed on"""
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
        """Raises Interrupted if the processes agreed on it. Call it where everything is saved."""
        self._raise(self.asked)

    def agree(self, ranks: Ranks, *, due: bool = False) -> bool:
        """Makes a signal to any process `asked` in all. Returns whether `due` is true in any.

        All processes call it at the same places; otherwise one that saw a signal would leave the others waiting.
        """
        came, any_due = ranks.largest(self._came or 0, int(due))
        self.asked = signal.Signals(came) if came else None
        return bool(any_due)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """For work that can be repeated, with the state saved: within, a signal raises Interrupted at once."""
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
        with suppress(OSError):  # stderr may be closed; print is not safe in a signal handler
            os.write(2, b"\nnanogfl: stopping after this update of the weights; one more Ctrl-C ends at once\n")

    def _raise(self, number: signal.Signals | None) -> None:
        if number is not None:
            raise Interrupted(self._how_to_go_on(), number)

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}
