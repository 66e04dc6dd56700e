"""Ctrl-C, SIGTERM (systemd, docker stop) and SIGHUP (a closed terminal) during detect, bench, explain and info."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from nanogfl.errors import STOP_SIGNALS, Interrupted

PATIENCE = 5.0
"""seconds until a process that does not react is ended; docker stop kills after 10"""


class Ending:
    """Reacts to signals: the first one raises Interrupted, or calls `at_the_first` if set. A second Ctrl-C raises."""

    def __init__(self) -> None:
        self.came: signal.Signals | None = None
        self.at_the_first: Callable[[], None] | None = None
        self.at_the_worst: Callable[[], None] | None = None
        """called in another thread before a process that does not react is ended"""
        self.noticed, self.over = threading.Event(), threading.Event()

    def note(self, number: int, _frame: FrameType | None) -> None:
        first, self.came = self.came is None, self.came or signal.Signals(number)
        self.noticed.set()
        if self.at_the_first is None or (not first and number == signal.SIGINT):
            raise Interrupted("stopped", number)
        self.at_the_first()


@contextmanager
def stoppable() -> Iterator[Ending]:
    """Sends signals to the Ending that it yields, and turns Interrupted into its exit code.

    Python handles a signal in the main thread, between two of its own steps. A model whose graph never ends prevents
    that, so a second thread, which learns of the signal at once, ends the process after some seconds.
    """
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    before: dict[signal.Signals, Any] = {}
    for number in STOP_SIGNALS:
        handler = signal.getsignal(number)
        # A shell's background job ignores Ctrl-C, but a recording must be closed. What nohup ignores stays ignored.
        if handler is not None and not (handler is signal.SIG_IGN and number != signal.SIGINT):
            before[number] = signal.signal(number, ending.note)
    told, telling = socket.socketpair()
    telling.setblocking(False)
    wakeup_before = signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(told, ending), name="signals", daemon=True)
    watcher.start()
    try:
        yield ending
    except Interrupted as stopped:
        click.echo(f"nanogfl: {stopped}", err=True)
        sys.exit(stopped.exit_code)
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        ending.noticed.set()
        ending.over.set()
        telling.close()
        watcher.join()
        told.close()


def _watch(told: socket.socket, ending: Ending) -> None:
    awaited, patience = ending.noticed, PATIENCE
    while content := told.recv(1):
        if content[0] not in STOP_SIGNALS:
            continue
        if not awaited.wait(patience):
            os.write(2, b"nanogfl: stopped in the middle of a call that does not end\n")
            if ending.at_the_worst is not None:
                ending.at_the_worst()
            os._exit(128 + content[0])
        # Later signals allow more time: a long recording may have to be closed, and systemd sends two at once.
        awaited, patience = ending.over, 6 * PATIENCE
