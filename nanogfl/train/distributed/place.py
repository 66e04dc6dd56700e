"""Which process of a training this one is, as its environment tells."""

import os
import signal
import threading
from typing import NamedTuple

from nanogfl.errors import UserError

_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
MEETING_FILE = "NANOGFL_MEETING_FILE"
"""in the environment of a process that `run_ranks` started: the file through which the processes find each other"""


class Place(NamedTuple):
    """Which process of a training this one is."""

    rank: int
    world: int
    """processes, of all machines"""
    local_rank: int
    """on this machine"""


def place_from_environment() -> Place | None:
    """What torchrun, or `run_ranks`, says in the environment; None for a training in one process. Raises UserError."""
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
    """In a process that `run_ranks` started: when the launcher is gone, this one is told to end, as by SIGTERM.

    Every such process has a pipe from the launcher as its stdin. Nothing is written to it, so reading ends when the
    launcher does, by SIGKILL as well.
    """
    if MEETING_FILE not in os.environ:
        return

    def wait() -> None:
        os.read(0, 1)  # not sys.stdin, whose lock a thread must not hold when Python ends
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="launcher", daemon=True).start()
