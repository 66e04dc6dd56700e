"""Cold start and peak memory, measured in fresh processes that run `nanogfl_deploy.bench.cold`."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from nanogfl.errors import UserError


def start_cold(model: Path, threads: int) -> dict[str, Any]:
    """What one fresh process prints, and `process`: seconds from its start to its end, Python's own start included.

    Raises UserError where the process fails.
    """
    # the child must find what this process found, also through sys.path alone
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "nanogfl_deploy.bench.cold", str(model), "--threads", str(threads)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"a fresh process could not run {model}: {last}")
    return {**json.loads(done.stdout.splitlines()[-1]), "process": seconds}


def cold_start(model: Path, threads: int, repeats: int = 5) -> dict[str, Any]:
    """Medians over `repeats` fresh processes, the slowest total and the largest peak.

    One process runs before them, since it may find the files on the disk only; its total is `disk_cold`.
    Raises UserError where a process fails.
    """
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
