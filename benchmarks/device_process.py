"""A device process: from `from nanogfl_deploy import Detector` to the first detection, and the most memory held.

python benchmarks/device_process.py MODEL.onnx --threads 1

Fresh processes in a row, of which the first may still read files from the disk; the limits hold for all of them.
Exit code 1 where one is passed.
"""

import argparse
import json
import sys
from pathlib import Path

from nanogfl_deploy.bench.cold_start import start_cold
from nanogfl_deploy.bench.machine import machine

SECONDS, MEGABYTES = 0.5, 150.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()

    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, {about['system']}, threads {arguments.threads}, {arguments.model}")
    print(", ".join(f"{name} {about[name]}" for name in ("onnxruntime", "opencv", "numpy", "python")))
    print("run   import s   open s   first s   total s   process s   peak MB   loaded of torch, onnx ...")
    runs = []
    for number in range(1, arguments.runs + 1):
        run = start_cold(arguments.model, arguments.threads)
        runs.append(run)
        memory = "-" if run["peak_bytes"] is None else f"{run['peak_bytes'] / 1e6:.1f}"
        print(
            f"{number:3}   {run['import']:8.3f}   {run['open']:6.3f}   {run['first']:7.3f}   {run['total']:7.3f}"
            f"   {run['process']:9.3f}   {memory:>7}   {', '.join(run['heavy']) or 'nothing'}"
        )
    slowest = max(run["total"] for run in runs)
    most = max((run["peak_bytes"] / 1e6 for run in runs if run["peak_bytes"] is not None), default=None)
    verdicts = {
        "seconds": slowest < SECONDS,
        "memory": None if most is None else most < MEGABYTES,
        "nothing_heavy": not any(run["heavy"] for run in runs),
    }
    print(f"slowest {slowest:.3f} s, limit {SECONDS} s: {_word(verdicts['seconds'])}")
    held = "not known on this system" if most is None else f"{most:.1f} MB"
    print(f"most memory {held}, limit {MEGABYTES:.0f} MB: {_word(verdicts['memory'])}")
    print(f"no torch, no onnx: {_word(verdicts['nothing_heavy'])}")
    print(json.dumps({"machine": about, "model": str(arguments.model), "runs": runs, "passed": verdicts}))
    sys.exit(False in verdicts.values())


def _word(verdict: bool | None) -> str:
    return "not judged" if verdict is None else "pass" if verdict else "FAIL"


if __name__ == "__main__":
    main()
