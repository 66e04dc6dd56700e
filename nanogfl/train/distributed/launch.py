"""Several processes of one training on this machine: started, watched, and ended together."""

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

from nanogfl.data.cache.ahead import available_threads
from nanogfl.errors import STOP_SIGNALS, UserError
from nanogfl.train.distributed.place import MEETING_FILE

GRACE_S = 10.0
"""for the others to end by themselves, with a sentence of their own, once one has failed"""
_POLL_S = 0.1
_DRAIN_S = 2.0
_STOPPED = tuple(128 + number for number in STOP_SIGNALS)  # exit codes of a training that saved its state first
_KEPT_LINES = 60  # of what a process says on stderr


def count_processes(wanted: str, device: str) -> int:
    """`wanted`: a number, or auto: the GPUs of this machine where `device`, the config's, is one. Raises UserError."""
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
    """Runs `command` in `count` processes, each with its rank in the environment -> the exit code, which is rank 0's.

    What rank 0 says is seen, of the others only why they failed. A signal goes on to all of them, and they end when
    this process ends, however it does. They meet through a file in a private folder and talk through the loopback
    interface: nothing of them can be reached from another machine. Raises UserError where another than rank 0 failed
    first; then, and where rank 0 failed, the others are ended.
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
    """Open to this user alone."""
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
    """A process, and the last lines that it said on stderr."""

    def __init__(self, command: Sequence[str], number: int, environment: dict[str, str]) -> None:
        self.number, self.lines = number, deque[str](maxlen=_KEPT_LINES)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # its end tells of ours: end_with_launcher
            stdout=None if number == 0 else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment | {"RANK": str(number), "LOCAL_RANK": str(number)},
            text=True,
            errors="replace",
            start_new_session=True,  # a terminal's Ctrl-C comes once, from us
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
        """Whatever it does; its last lines are there afterwards."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(_DRAIN_S)
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        if not self._reader.is_alive():  # else a process that it started, a compiler's, still has it open
            self.process.stderr.close()

    def exit_code(self) -> int:
        """As a shell has it: 128 + the number of the signal that ended it."""
        code = self.process.returncode
        return 128 - code if code < 0 else code

    def how(self) -> str:
        code = self.process.returncode
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"

    def last_line(self) -> str:
        return self.lines[-1].strip().removeprefix("nanogfl: ") if self.lines else ""


def _wait(ranks: Sequence[_Rank], signals: Sequence[int]) -> _Rank | None:
    """The first that failed, when all have ended or GRACE_S after it; None where all went well."""
    first: _Rank | None = None
    until = float("inf")
    while True:
        codes = {rank.process.poll(): rank for rank in reversed(ranks)}
        if first is None and (failed := [code for code in codes if code]):
            first = codes[min(failed)]  # a kill, below 0, is what the others follow
            until = time.monotonic() + GRACE_S
        if None not in codes or (time.monotonic() > until and not signals):
            return first
        time.sleep(_POLL_S)


def _explain(first: _Rank, ranks: Sequence[_Rank]) -> None:
    """Raises UserError unless rank 0 has said it: its own sentence, the same one, or that a signal stopped all."""
    said, code = first.last_line(), ranks[0].process.returncode
    agreed = code in _STOPPED or (first.process.returncode > 0 and said and said == ranks[0].last_line())
    if (first.number == 0 and code > 0) or agreed:
        return
    if first.process.returncode not in (0, 2) and first.number:  # not a sentence: all that it said
        sys.stderr.writelines(first.lines)
        said = ""
    raise UserError(
        f"rank {first.number} of {len(ranks)} {first.how()}{f' ({said})' if said else ''}, and the other ranks were"
        " ended: mend that, then go on from what was saved last with --resume"
    )


@contextmanager
def _passing_signals_on(ranks: Sequence[_Rank]) -> Iterator[list[int]]:
    """Yields the list of those that came."""
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
