"""`nanogfl ARGUMENTS` in a process of several, which signals itself: python rank_run.py RANK:NUMBER:SIGNAL ARGUMENTS.

The NUMBER-th batch of that rank (1 is the first one) brings the signal, before anything is learnt from it.
"""

import os
import signal
import sys

from nanogfl.cli.main import main
from nanogfl.training.step import TrainStep


def signal_at(number: int, name: str) -> None:
    real, calls = TrainStep.accumulate, 0

    def counting(*arguments, **keys) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), getattr(signal, name))
        real(*arguments, **keys)

    TrainStep.accumulate = counting  # type: ignore[method-assign]


if __name__ == "__main__":
    rank, number, name = sys.argv.pop(1).split(":")
    if os.environ["RANK"] == rank:
        signal_at(int(number), name)
    main()
