"""What the rewrites of the export bring: the same weights as traced (dynamo + onnxsim) and as written, in turns.

python benchmarks/export_speed.py CHECKPOINT... --images FOLDER [--threads 1] [--rounds 200] [--leave-out]

Model only: session.run on a picture of the input size, of the networks without any post-processing and of the file with
detections in the graph. Frame: a 1280x720 frame in memory -> detections in its pixels, by `nanogfl_deploy.Detector`.
Pictures are the folder's, resized; in each round all see the same one. Ratios are taken within each round.
`--leave-out` also times the network without each rewrite. The last line is JSON.
"""

import argparse
import itertools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
from cpu_limit import peak_calls, peak_rate
from numpy.typing import NDArray

from nanogfl.io.images import IMAGE_SUFFIXES, read_frame
from nanogfl.machine.timing import Speedup, Timing, measure, speedup
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.summary import count_complexity
from nanogfl_deploy.bench.machine import machine
from nanogfl_deploy.runtime import Detector, open_session
from nanogfl_export.export import export_checkpoint
from nanogfl_export.graph.trace import trace_network
from nanogfl_export.rewrite.sequence import NETWORK_REWRITES, rewrite_network

Image = NDArray[np.uint8]
PLAIN, WRITTEN, IN_GRAPH = "plain network", "rewritten network", "detections in the graph"
FRAME, FRAME_PLAIN, FRAME_RAW = (
    "1280x720 frame -> detections",
    "the same, no rewrites",
    "the same, raw + numpy, no rewrites",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=16, help="pictures used")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--leave-out", action="store_true")
    arguments = parser.parse_args()

    paths = sorted(path for path in arguments.images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    pictures = [read_frame(path) for path in paths[: arguments.count]]
    about = machine()
    print(f"{about['cpu']}, {about['system']}, onnxruntime {about['onnxruntime']}, threads {arguments.threads},")
    print(f"{arguments.rounds} rounds, {len(pictures)} pictures of {arguments.images.name}")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for checkpoint in arguments.checkpoints:
            calls = prepare(checkpoint, pictures, Path(folder), arguments.threads, arguments.leave_out)
            timings = measure(calls, arguments.rounds, warmup=20)
            results.append(report(checkpoint, timings, arguments.threads))
    print(json.dumps({"machine": about, "threads": arguments.threads, "results": results}))


def prepare(
    checkpoint: Path, pictures: list[Image], folder: Path, threads: int, leave_out: bool
) -> dict[str, Callable[[], object]]:
    """Exports everything into the folder and opens it."""
    detector = load_checkpoint(checkpoint).build().eval()
    height, width = detector.hw
    images = [np.asarray(cv2.resize(picture, (width, height)), np.uint8) for picture in pictures]
    frames = [np.asarray(cv2.resize(picture, (1280, 720)), np.uint8) for picture in pictures]
    network = trace_network(detector, 1)
    models = {PLAIN: network, WRITTEN: rewrite_network(network)}
    if leave_out:
        for step in NETWORK_REWRITES:
            model = network
            for other in NETWORK_REWRITES:
                model = model if other is step else other(model)
            models[f"without {step.__name__}"] = model
    calls: dict[str, Callable[[], object]] = {}
    for name, model in models.items():
        path = folder / f"{len(calls)}.onnx"
        onnx.save_model(model, path)
        calls[name] = _on_images(path, threads, images)
    detectors = {
        FRAME: export(checkpoint, folder / "written.onnx", pictures, rewrite=True),
        FRAME_PLAIN: export(checkpoint, folder / "plain.onnx", pictures, rewrite=False),
        FRAME_RAW: export(checkpoint, folder / "raw.onnx", pictures, rewrite=False, raw=True),
    }
    calls[IN_GRAPH] = _on_images(detectors[FRAME], threads, images)
    calls |= {name: _on_frames(Detector(path, threads), frames) for name, path in detectors.items()}
    return calls | peak_calls(threads)


def export(checkpoint: Path, output: Path, pictures: list[Image], *, rewrite: bool, raw: bool = False) -> Path:
    """A file that has passed the gate on these pictures."""
    exported = export_checkpoint(
        checkpoint,
        output,
        output_format="raw" if raw else "detections",
        rewrite=rewrite,
        frames=[(str(index), picture) for index, picture in enumerate(pictures)],
        frames_origin="benchmark",
        open_device=Detector,
    )
    print(f"{checkpoint.name} {output.name}: {exported.parity}")
    return output


def _on_images(path: Path, threads: int, images: list[Image]) -> Callable[[], object]:
    session, turn = open_session(path, threads), itertools.cycle(images)
    return lambda: session.run(None, {"image": next(turn)[None]})


def _on_frames(detector: Detector, frames: list[Image]) -> Callable[[], object]:
    turn = itertools.cycle(frames)
    return lambda: detector(next(turn))


def report(checkpoint: Path, timings: dict[str, Timing], threads: int) -> dict[str, object]:
    detector = load_checkpoint(checkpoint).build()
    macs, limit = count_complexity(detector).macs, peak_rate(timings, threads)
    print(f"\n{checkpoint.name}, input {detector.hw}, {macs / 1e6:.0f} MMAC, 1x1 peak {limit / 1e9:.0f} GMAC/s")
    print(f"  {'ms':<36}{'p50':>8}{'p95':>8}{'min':>8}   plain network = 1")
    rows = {}
    for name, timing in timings.items():
        if name.startswith("peak"):
            continue
        ratio: Speedup = speedup(timing, timings[PLAIN])
        share = f"   {macs / (timing.p50 / 1e3) / limit:.0%} of the limit" if name in (PLAIN, WRITTEN) else ""
        print(
            f"  {name:<36}{timing.p50:8.2f}{timing.p95:8.2f}{timing.min:8.2f}"
            f"   {ratio.p50:.3f}x ({ratio.q25:.3f}-{ratio.q75:.3f}){share}"
        )
        rows[name] = {**timing.summary(), "speedup": [ratio.q25, ratio.p50, ratio.q75]}
    return {"checkpoint": checkpoint.name, "hw": detector.hw, "macs": macs, "limit": limit, "timings": rows}


if __name__ == "__main__":
    main()
