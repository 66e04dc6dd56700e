"""A device process from its start: how long until the first detection, and how much memory.

python -m nanogfl_deploy.cold MODEL [--threads 1]

prints one JSON line. Seconds: `import` (`from nanogfl_deploy import Detector`), `open` (the model), `first` (the first
frame, a plain grey 1280x720), `total` (their sum; making that frame is left out, as a camera would have it ready),
`threads`, `peak_bytes` (resident, after STEADY more frames; null where the system does not say) and `heavy` (packages
that a device must not load: an empty list). The `process` that `start_cold` adds is the wall time of all of it, with
Python's own start, its end and the further frames.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

HEAVY = ("torch", "onnx", "onnxscript", "onnxsim", "pydantic", "matplotlib", "rich")
STEADY = 10
"""frames after the first: the most memory is held only after a few"""


def run_cold(model: str, threads: int) -> dict[str, Any]:
    """Once in a process; what was imported before is not measured."""
    from_start = time.perf_counter()
    from nanogfl_deploy import Detector

    imported = time.perf_counter()
    detector = Detector(model, threads)
    opened = time.perf_counter()

    import numpy as np

    frame = np.full((720, 1280, 3), 114, dtype=np.uint8)
    before_first = time.perf_counter()
    detector(frame)
    seconds = (imported - from_start, opened - imported, time.perf_counter() - before_first)
    for _ in range(STEADY):
        detector(frame)

    from nanogfl_deploy.memory import peak_memory

    return {
        **dict(zip(("import", "open", "first"), seconds, strict=True)),
        "total": sum(seconds),
        "threads": threads,
        "peak_bytes": peak_memory(),
        "heavy": [name for name in HEAVY if name in sys.modules],
    }


def start_cold(model: Path, threads: int) -> dict[str, Any]:
    """The same in a fresh process, and `process`: seconds of its whole life. UserError's sentence ends it likewise."""
    # the child must find what this process found, also where it was found through sys.path alone
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "nanogfl_deploy.cold", str(model), "--threads", str(threads)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        from nanogfl.contract.errors import UserError

        raise UserError(f"a fresh process could not run {model}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return {**json.loads(done.stdout.splitlines()[-1]), "process": seconds}


def cold_start(model: Path, threads: int, repeats: int = 5) -> dict[str, Any]:
    """Medians of `repeats` fresh processes, the most memory of any, and apart, as `disk_cold`, the total of one before
    them, which may still find the files on disk only."""
    first, *runs = [start_cold(model, threads) for _ in range(repeats + 1)]
    peaks = [run["peak_bytes"] for run in runs if run["peak_bytes"] is not None]
    return {
        **{key: median(run[key] for run in runs) for key in ("import", "open", "first", "total", "process")},
        "slowest": max(run["total"] for run in runs),
        "disk_cold": first["total"],
        "peak_bytes": max(peaks) if peaks else None,
        "heavy": sorted({name for run in runs for name in run["heavy"]}),
        "threads": threads,
        "repeats": repeats,
    }


def main(arguments: Sequence[str]) -> None:
    import argparse

    parser = argparse.ArgumentParser(prog="python -m nanogfl_deploy.cold")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    print(json.dumps(run_cold(options.model, options.threads)))


if __name__ == "__main__":
    main(sys.argv[1:])
