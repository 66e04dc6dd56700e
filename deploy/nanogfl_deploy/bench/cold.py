"""A device process from its start: how long until the first detection, and how much memory.

python -m nanogfl_deploy.bench.cold MODEL [--threads 1]

prints one JSON line. Seconds: `import` (`from nanogfl_deploy import Detector`), `open` (the model), `first` (the first
frame, a plain grey 1280x720), `total` (their sum; making that frame is left out, as a camera would have it ready).
`threads`; `peak_bytes` (resident, after STEADY more frames; null where the system does not say); `heavy` (packages that
a device must not load: an empty list). This file imports nothing before its clock runs but what Python has anyway.
"""

import sys
import time

HEAVY = ("torch", "onnx", "onnxscript", "onnxsim", "pydantic", "yaml", "pycocotools", "matplotlib", "rich")
STEADY = 10
"""frames after the first: the most memory is held only after a few"""


def main() -> None:
    start = time.perf_counter()
    from nanogfl_deploy import Detector

    import_seconds = time.perf_counter() - start

    import argparse
    import json

    import numpy as np

    from nanogfl_deploy.bench.peak_memory import peak_memory

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


if __name__ == "__main__":
    main()
