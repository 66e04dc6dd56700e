"""This CPU's limit: how many multiply-accumulates a second onnxruntime reaches on 1x1 convolutions.

The file beside this one is a chain of them (benchmarks/make_peak_model.py says how and why). A network stays below it:
its depthwise convolutions and everything that only moves memory have less arithmetic for each byte.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from nanogfl.machine.timing import Timing
from nanogfl_deploy.runtime import open_session

PEAK_FILE = Path(__file__).with_name("peak.onnx")
CHANNELS, LAYERS = 256, 8
SIDES = (20, 28)
"""height and width of the pictures; the best of them counts"""


def peak_calls(threads: int) -> dict[str, Callable[[], object]]:
    """Calls for `contract.timing.measure`, named for `peak_rate`; they share one session."""
    session = open_session(PEAK_FILE, threads)
    inputs = {side: {"x0": np.ones((1, CHANNELS, side, side), np.float32)} for side in SIDES}
    return {_name(threads, side): partial(session.run, None, feed) for side, feed in inputs.items()}


def peak_rate(timings: Mapping[str, Timing], threads: int) -> float:
    """Multiply-accumulates a second with this many threads: the best picture size, by its median."""
    return max(LAYERS * CHANNELS**2 * side**2 / timings[_name(threads, side)].p50 * 1e3 for side in SIDES)


def _name(threads: int, side: int) -> str:
    return f"peak {threads} {side}"
