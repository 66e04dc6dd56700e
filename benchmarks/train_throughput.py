"""How much of a training step is the network: images/s of the whole loop beside bare forward + backward of the same
network, in turns in one run, and where the rest goes.

python benchmarks/train_throughput.py                                  # the embedded data set
python benchmarks/train_throughput.py --root DATA/coco_mini            # any COCO layout
python benchmarks/train_throughput.py --device cuda --batch 256 --precision bf16 --modes eager compile cuda_graphs \
    --set data.cache=device --steps 40
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import torch

from nanogfl.config import Config
from nanogfl.data.loader import Batch, Loader
from nanogfl.data.synthetic.dataset import draw_dataset
from nanogfl.model.detector import Detector, build_detector
from nanogfl.recipe import config_from_dict, load_config
from nanogfl.training.datasets import Data, load_data
from nanogfl.training.device import autocast, choose_device, keep_freed_memory
from nanogfl.training.step import TrainStep, build_step
from nanogfl_deploy.bench.machine import cpu_name

MODES = {False: "eager", True: "compile"}
PHASES = ("data", "forward", "assignment", "loss", "forward, assignment and loss", "backward", "optimizer", "average")


class Laps:
    """Seconds of every phase of every step; on a GPU each lap waits for it, so that its work is counted there."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._last = time.perf_counter()

    def __call__(self, phase: str) -> None:
        _finish(self._device)
        now = time.perf_counter()
        self.seconds[phase].append(now - self._last)
        self._last = now


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_loop(step: TrainStep, batches: "Callable[[], Batch]", count: int, laps: Callable[[str], None] | None) -> float:
    """Seconds for `count` whole steps as the training loop makes them."""
    lap = laps or (lambda _: None)
    _finish(step.device)
    lap("")  # the clock starts here
    start = time.perf_counter()
    for number in range(count):
        batch = batches()
        lap("data")
        step.accumulate(batch, number, detach_guide=False, share=1.0, lap=lap)
        step.update(number, lap)
    _finish(step.device)
    return time.perf_counter() - start


def time_bare(step: TrainStep, detector: Detector, batch: Batch, count: int) -> float:
    """Seconds for `count` times forward and backward of the network alone, on one batch and constant gradients."""
    images = batch.images.to(step.device)
    _finish(step.device)
    start = time.perf_counter()
    for _ in range(count):
        with autocast(step.device, step.precision):
            predictions = detector(images)
        torch.autograd.backward(list(predictions), [torch.full_like(p, 1e-6) for p in predictions])
        for parameter in detector.parameters():
            parameter.grad = None
    _finish(step.device)
    return time.perf_counter() - start


def measure(config: Config, data: Data, class_count: int, steps: int, rounds: int) -> dict[str, object]:
    """One precision and mode."""
    device = choose_device(config.train.device)
    torch.manual_seed(0)
    step = build_step(config, build_detector(config.model, class_count), device)
    bare = build_detector(config.model, class_count).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    step.detector.train()
    if config.train.compile:
        bare.compile(fullgraph=True, dynamic=False)
    loader = Loader(data.train, config, data.train_frames, device, pad=bool(config.train.compile))
    epochs = 2 + (2 * rounds + 2) * steps // loader.steps
    whole, alone, laps = [], [], Laps(device)
    with closing(loader.stream(0, epochs)) as stream:
        fixed = next(stream)
        time_loop(step, lambda: next(stream), 3, None)  # memory, kernels' choice, compilation
        time_bare(step, bare, fixed, 3)
        loader.waited = 0.0
        for _ in range(rounds):
            whole.append(time_loop(step, lambda: next(stream), steps, None) / steps)
            alone.append(time_bare(step, bare, fixed, steps) / steps)
        waiting = loader.waited / (sum(whole) * steps)
        time_loop(step, lambda: next(stream), steps, laps)  # apart: on a GPU the laps cost time themselves
    laps.seconds.pop("", None)
    split = {phase: statistics.median(laps.seconds[phase]) for phase in PHASES if phase in laps.seconds}
    seconds, bare_seconds = statistics.median(whole), statistics.median(alone)
    return {
        "precision": step.precision,
        "mode": config.train.compile if isinstance(config.train.compile, str) else MODES[config.train.compile],
        "images_per_second": loader.batch_size / seconds,
        "bare_images_per_second": loader.batch_size / bare_seconds,
        "of_bare": statistics.median(b / w for w, b in zip(whole, alone, strict=True)),
        "waiting": waiting,
        "milliseconds": {phase: 1000 * value for phase, value in split.items()},
        "assignment_and_loss": (split.get("assignment", 0.0) + split.get("loss", 0.0)) / sum(split.values()),
    }


def measure_data(config: Config, data: Data, pictures: int) -> float:
    """Pictures/s of the data path alone on one core: plan, boxes, pixels by OpenCV; decoded frames from the cache."""
    single = replace(config, data=replace(config.data, workers=0, cache="memmap"))
    loader = Loader(data.train, single, data.train_frames)
    rates = []
    for _ in range(3):
        start, made = time.perf_counter(), 0
        for batch in loader.stream(0, 1 + pictures // (loader.steps * loader.batch_size)):
            made += len(batch.images)
        rates.append(made / (time.perf_counter() - start))
    return statistics.median(rates)


def load(arguments: argparse.Namespace, folder: str) -> tuple[Config, Data, int]:
    root = arguments.root or f"{folder}/drawn"
    overrides = (f"data.root={root}", "data.min_labelled=0", *arguments.overrides)
    recipe = arguments.recipe or Path(folder) / "defaults.yaml"
    if not arguments.recipe:
        recipe.write_text("")
    config = load_config(recipe, overrides)
    train = replace(config.train, batch_size=arguments.batch, device=arguments.device, threads=arguments.threads)
    config = replace(config, train=train, augment=replace(config.augment, mosaic=arguments.mosaic, plain_end=0.0))
    config = config_from_dict(config.to_dict(), "arguments")  # checked again
    if arguments.root is None:
        draw_dataset(Path(root), train=arguments.pictures, val=8, seed=0)
    data = load_data(config)
    return config, data, arguments.classes or max(80, len(data.train.classes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, help="a config; default: the defaults")
    parser.add_argument("--root", help="folder of a data set in COCO's layout; default: the embedded one, drawn now")
    parser.add_argument("--pictures", type=int, default=256, help="of the embedded data set")
    parser.add_argument(
        "--classes", type=int, default=0, help="of the network; default: 80, or as many as the data has"
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--mosaic", type=float, default=1.0, help="probability")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--modes", nargs="+", default=["eager"], choices=["eager", "compile", "cuda_graphs"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--steps", type=int, default=8, help="in a round")
    parser.add_argument("--rounds", type=int, default=5, help="of the loop and the bare network in turns")
    parser.add_argument(
        "--glibc-default", action="store_true", help="without keeping freed memory, to see what it brings"
    )
    parser.add_argument("--set", dest="overrides", nargs="*", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()

    cv2.setNumThreads(0)
    if choose_device(arguments.device).type == "cpu" and not arguments.glibc_default:
        keep_freed_memory()  # as the training does
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        config, data, classes = load(arguments, folder)
        device = choose_device(arguments.device)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
        height, width = config.model.input.hw
        print(
            f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"
        )
        print(
            f"{height} x {width}, batch {arguments.batch}, {classes} classes, assigner {config.loss.assigner}, ", end=""
        )
        print(f"mosaic {arguments.mosaic}, cache {config.data.cache}, {config.data.workers} workers")
        data_rate = measure_data(config, data, 1500)
        print(f"data path alone: {data_rate:.0f} pictures/s on one core")
        print("precision  mode         images/s   bare  of bare  waiting  assign + loss   milliseconds of a step")
        for mode in arguments.modes:
            for precision in arguments.precision:
                compile_mode = {"eager": False, "compile": True}.get(mode, mode)
                train = replace(config.train, precision=precision, compile=compile_mode)
                row = measure(replace(config, train=train), data, classes, arguments.steps, arguments.rounds)
                rows.append(row)
                split = ", ".join(f"{phase} {value:.1f}" for phase, value in row["milliseconds"].items())  # type: ignore[attr-defined]
                print(
                    f"{row['precision']:9}  {row['mode']:11}  {row['images_per_second']:8.1f}"
                    f"  {row['bare_images_per_second']:5.1f}  {row['of_bare']:7.1%}  {row['waiting']:7.2%}"
                    f"  {row['assignment_and_loss']:13.1%}   {split}"
                )
    print(json.dumps({"machine": name, "batch": arguments.batch, "data_path_per_core": data_rate, "rows": rows}))


if __name__ == "__main__":
    main()
