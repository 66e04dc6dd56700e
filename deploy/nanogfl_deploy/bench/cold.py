"""The child process of `cold_start`: time to the first detection, and peak memory.

python -m nanogfl_deploy.bench.cold MODEL [--threads 1]

prints one JSON line. Seconds: `import` (`from nanogfl_deploy import Detector`), `open` (the model), `first` (the first
frame, plain grey 1280x720), `total` (their sum, without making that frame: a camera would have it ready). `threads`;
`peak_bytes` (resident, after STEADY more frames; null where the system does not say); `heavy` (loaded packages that a
device must not need: an empty list). Until its clock runs, this file imports only what Python has loaded anyway.
"""

import sys
import time

HEAVY = ("torch", "onnx", "onnxscript", "onnxsim", "pydantic", "yaml", "pycocotools", "matplotlib", "rich")
STEADY = 10
"""frames after the first: peak memory is reached only after a few"""


def main() -> None:
    """Measures and prints."""
    start = time.perf_counter()
    from nanogfl_deploy import Detector

    import_seconds = time.perf_counter() - start

    import argparse
    import json

    import numpy as np

    parser = argparse.ArgumentParser(prog="python -m nanogfl_deploy.bench.cold")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    frame = np.full((720, 1280, 3), 114, dtype=np.uint8)

    start = time.perf_counter()
    detector = Detector(options.model, options.threads)
    opened = time.perf_counter()
    detector(frame)
    first_seconds = time.perf_counter() - opened
    for _ in range(STEADY):
        detector(frame)
    found = {
        "import": import_seconds,
        "open": opened - start,
        "first": first_seconds,
        "total": import_seconds + opened - start + first_seconds,
        "threads": options.threads,
        "peak_bytes": peak_memory(),
        "heavy": [name for name in HEAVY if name in sys.modules],
    }
    print(json.dumps(found))


def peak_memory() -> int | None:
    """Peak resident bytes of this process; None where the system does not say (Windows).

    From VmHWM on Linux: getrusage's ru_maxrss starts at what the parent held when it started this process, which for a
    bench with open models is more than a detector needs.
    """
    import re
    from pathlib import Path

    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        status = ""
    if found := re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE):
        return int(found[1]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
