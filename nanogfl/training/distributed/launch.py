"""The processes of one training on this machine: started, watched, and ended together.

Why not torch.distributed.run (torch 2.13, tried): its store listens on every network interface; one Ctrl-C ends it
with a traceback and exit code 1, and SIGKILL follows 30 s later, which may be in the middle of an update; a second
Ctrl-C does not end it at once; and its processes live on when the launcher is killed. It can be used all the same, on
several machines or to restart a training: `place_from_environment` reads what it says.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

from nanogfl.data.cache.ahead import available_threads
from nanogfl.errors import STOP_SIGNALS, UserError

MEETING_FILE = "NANOGFL_MEETING_FILE"
"""in the environment of a process that `run_ranks` started: the file through which the processes find each other"""
GRACE_S = 10.0
"""for the others to end by themselves, with a sentence of their own, once one has failed"""
_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
_POLL_S = 0.1
_DRAIN_S = 2.0
_STOPPED = tuple(128 + number for number in STOP_SIGNALS)  # exit codes of a training that saved its state first
_KEPT_LINES = 60  # of a process's stderr


class Place(NamedTuple):
    """Which process of a training this one is."""

    rank: int
    world: int
    """processes on all machines"""
    local_rank: int
    """on this machine"""


def place_from_environment() -> Place | None:
    """What torchrun or `run_ranks` put into the environment; None for a training in one process.

    Raises UserError where that is incomplete or no numbers.
    """
    if "RANK" not in os.environ:
        return None
    needed = _PLACE if MEETING_FILE in os.environ else _PLACE + _ADDRESS
    if missing := [name for name in needed if name not in os.environ]:
        raise UserError(
            f"the environment has RANK but not {' and '.join(missing)}: start several processes by torchrun or by"
            " nanogfl train --devices N, or one with RANK unset"
        )
    try:
        place = Place(*(int(os.environ[name]) for name in _PLACE))
    except ValueError:
        raise UserError("RANK, WORLD_SIZE and LOCAL_RANK in the environment must be whole numbers") from None
    return place if place.world > 1 else None


def end_with_launcher() -> None:
    """In a process that `run_ranks` started: ends this one, as SIGTERM does, when the launcher is gone.

    Such a process has a pipe from the launcher as its stdin. Nothing is ever written to it, so reading returns when the
    launcher has ended, even by SIGKILL.
    """
    if MEETING_FILE not in os.environ:
        return

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin: a thread must not hold its lock when Python ends
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="launcher", daemon=True).start()


def count_processes(wanted: str, device: str) -> int:
    """The value of --devices as a number; auto is one per GPU of this machine, and 1 where `device` is no GPU.

    Raises UserError for anything else, and in a process that torchrun started.
    """
    if "RANK" in os.environ:
        raise UserError("--devices starts processes of its own, which torchrun does already: leave it out")
    if wanted == "auto":
        if device not in ("auto", "cuda"):
            return 1
        import torch

        return max(1, torch.cuda.device_count())
    if not wanted.isdecimal() or int(wanted) < 1:
        raise UserError(f"--devices must be a number of processes or auto, got '{wanted}'")
    return int(wanted)


def run_ranks(command: Sequence[str], count: int) -> int:
    """Runs `command` in `count` processes with their ranks in the environment. Returns rank 0's exit code.

    Rank 0's output is shown; of the others only why one failed. Signals are passed on to all, and all end with this
    process, however it ends. They meet through a file in a private folder and talk over the loopback interface, so no
    other machine can reach them. When one fails, the others are ended. Raises UserError where that was not rank 0.
    """
    ranks: list[_Rank] = []
    with _private_folder() as folder:
        environment = os.environ | {"WORLD_SIZE": str(count), MEETING_FILE: os.path.join(folder, "meeting")}
        environment |= _loopback_only()
        environment.setdefault("OMP_NUM_THREADS", str(max(1, available_threads() // count)))
        try:
            with _passing_signals_on(ranks) as signals:
                for number in range(count):
                    ranks.append(_Rank(command, number, environment))
                    for came in signals:  # while this one was started
                        ranks[-1].process.send_signal(came)
                first = _wait(ranks, signals)
        finally:
            for rank in ranks:
                rank.end()
    if first is None or signals:
        return ranks[0].exit_code()
    _explain(first, ranks)
    return ranks[0].exit_code()


@contextmanager
def _private_folder() -> Iterator[str]:
    """A temporary folder that only this user can open."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="nanogfl-", ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(
            f"--devices needs a folder for temporary files ({error.strerror}): set TMPDIR to one that can be written to"
        ) from None
    with folder as path:
        yield path


def _loopback_only() -> dict[str, str]:
    """Environment variables that keep gloo and NCCL from listening on a network."""
    if sys.platform == "win32":  # its interfaces have other names
        return {}
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    return {} if loopback is None else {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": f"={loopback}"}


class _Rank:
    """A process and the last lines of its stderr."""

    def __init__(self, command: Sequence[str], number: int, environment: dict[str, str]) -> None:
        self.number, self.lines = number, deque[str](maxlen=_KEPT_LINES)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # closed when this process ends: end_with_launcher
            stdout=None if number == 0 else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment | {"RANK": str(number), "LOCAL_RANK": str(number)},
            text=True,
            errors="replace",
            start_new_session=True,  # so that a Ctrl-C in the terminal comes once, from this process
        )
        self._reader = threading.Thread(target=self._read, name=f"rank {number}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if self.number == 0:
                sys.stderr.write(line)
                sys.stderr.flush()

    def end(self) -> None:
        """Ends the process at once and reads the rest of its stderr."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(_DRAIN_S)
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        if not self._reader.is_alive():  # a process that it started, such as a compiler, may still have it open
            self.process.stderr.close()

    def exit_code(self) -> int:
        """As in a shell: 128 + the number of the signal that ended it."""
        code = self.process.returncode
        return 128 - code if code < 0 else code

    def how(self) -> str:
        code = self.process.returncode
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"

    def last_line(self) -> str:
        return self.lines[-1].strip().removeprefix("nanogfl: ") if self.lines else ""


def _wait(ranks: Sequence[_Rank], signals: Sequence[int]) -> _Rank | None:
    """Waits for all, but no longer than GRACE_S after a failure that no signal explains. Returns the first that failed,
    or None."""
    first: _Rank | None = None
    until = float("inf")
    while True:
        codes = {rank.process.poll(): rank for rank in reversed(ranks)}
        if first is None and (failed := [code for code in codes if code]):
            first = codes[min(failed)]  # a kill (below 0) is the cause of the others' failures
            until = time.monotonic() + GRACE_S
        if None not in codes or (time.monotonic() > until and not signals):
            return first
        time.sleep(_POLL_S)


def _explain(first: _Rank, ranks: Sequence[_Rank]) -> None:
    """Raises UserError, unless rank 0 said the reason itself or a signal stopped all."""
    said, code = first.last_line(), ranks[0].process.returncode
    agreed = code in _STOPPED or (first.process.returncode > 0 and said and said == ranks[0].last_line())
    if (first.number == 0 and code > 0) or agreed:
        return
    if first.process.returncode not in (0, 2) and first.number:  # no sentence: all its lines
        sys.stderr.writelines(first.lines)
        said = ""
    raise UserError(
        f"rank {first.number} of {len(ranks)} {first.how()}{f' ({said})' if said else ''}, and the other ranks were"
        " ended: mend that, then go on from what was saved last with --resume"
    )


@contextmanager
def _passing_signals_on(ranks: Sequence[_Rank]) -> Iterator[list[int]]:
    """Passes signals on to the ranks. Yields the list of those that came."""
    came: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        for rank in ranks:
            rank.process.send_signal(number)

    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    handled = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in handled:
        signal.signal(number, pass_on)
    try:
        yield came
    finally:
        for number in handled:
            signal.signal(number, before[number])
