"""How busy other processes kept the machine while something was timed: figures from a busy machine are no figures."""

import os
import time
from pathlib import Path

_IDLE, _IOWAIT = 3, 4
_COUNTED = 8
"""user nice system idle iowait irq softirq steal; the guests' time behind them is part of user's"""


class OtherLoad:
    """`OtherLoad()`, the work, then `.cores()`."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._busy = _busy_seconds()
        self._own = time.process_time()

    def cores(self) -> float | None:
        """The mean number of cores that others were busy on since; what a virtual machine was not given (steal) counts
        among them. None where the system does not say."""
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return None
        others = busy - self._busy - (time.process_time() - self._own)
        return max(0.0, others / max(time.perf_counter() - self._start, 1e-9))


def _busy_seconds() -> float | None:
    """Of all cores since the machine started."""
    try:
        name, *fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
    except (OSError, ValueError):
        return None
    ticks = [int(field) for field in fields[:_COUNTED]]
    if name != "cpu" or len(ticks) <= _IOWAIT:
        return None
    return (sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]) / os.sysconf("SC_CLK_TCK")
