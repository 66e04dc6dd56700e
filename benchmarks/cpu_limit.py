"""This CPU's limit: multiply-accumulates per second that onnxruntime reaches on 1x1 convolutions.

python benchmarks/cpu_limit.py [--threads 1]

A network stays well below it: its depthwise convolutions and everything that only moves memory have less arithmetic per
byte. The model is a chain of 8 convolutions from 256 to 256 channels with bias and no activation. All share one weight
tensor (256 KiB), which stays in the cache; with 1/256 as the weight and a small bias the values stay near 1, so that no
number is denormal. Of 128, 256 and 512 channels at 20, 28 and 40 pixels per side all but the smallest came within 2 %
of each other (108 to 111 GMAC/s on one core of an AMD EPYC with AVX-512).
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import parser

from nanogfl.machine.timing import Timing, measure
from nanogfl_deploy.bench.machine import cpu_name
from nanogfl_deploy.runtime import open_session

CHANNELS, LAYERS = 256, 8
SIDES = (20, 28)
"""height and width of the pictures; the faster one counts"""


def peak_model() -> onnx.ModelProto:
    """The chain, of free height and width. Its weights are ConstantOfShape, computed when it is opened."""
    chain = "\n".join(f"    x{layer + 1} = Conv (x{layer}, weight, bias)" for layer in range(LAYERS))
    return parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 18]>
peak (float[1, {CHANNELS}, H, W] x0) => (float[1, {CHANNELS}, H, W] x{LAYERS})
<int64[4] weight_shape = {{{CHANNELS}, {CHANNELS}, 1, 1}}, int64[1] bias_shape = {{{CHANNELS}}}>
{{
    weight = ConstantOfShape <value = float[1] {{{1 / CHANNELS}}}> (weight_shape)
    bias = ConstantOfShape <value = float[1] {{0.01}}> (bias_shape)
{chain}
}}
""")


def peak_calls(threads: int) -> dict[str, Callable[[], object]]:
    """Calls for `measure`, named for `peak_rate`; they share one session."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "peak.onnx"
        onnx.save_model(peak_model(), path)
        session = open_session(path, threads)
    inputs = {side: {"x0": np.ones((1, CHANNELS, side, side), np.float32)} for side in SIDES}
    return {_name(threads, side): partial(session.run, None, feed) for side, feed in inputs.items()}


def peak_rate(timings: Mapping[str, Timing], threads: int) -> float:
    """Multiply-accumulates per second with this many threads: the best picture size, by its median."""
    return max(LAYERS * CHANNELS**2 * side**2 / timings[_name(threads, side)].p50 * 1e3 for side in SIDES)


def _name(threads: int, side: int) -> str:
    return f"peak {threads} {side}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, default=1)
    threads = arguments.parse_args().threads
    rate = peak_rate(measure(peak_calls(threads)), threads)
    print(f"{cpu_name()}, threads {threads}: {rate / 1e9:.0f} GMAC/s of 1x1 convolutions")


if __name__ == "__main__":
    main()
