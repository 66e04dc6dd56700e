"""The search that found SumNet's two sizes: candidates by latency in exported form, and by AP after one small budget.

python benchmarks/search.py time OUT                    # parameters, MACs, latency -> OUT/time.csv
python benchmarks/search.py train OUT --root DATA/voc   # each candidate in turn -> OUT/ap.csv; goes on if stopped
python benchmarks/search.py plot OUT                    # OUT/search.csv and OUT/search.png

The budget: 160 x 160, a third of VOC's training images (2,812, drawn with seed 0), 12 epochs, seed 0; AP on 1,000 of
the images of VOC2007 test (seed 0). Latency: one thread of onnxruntime at 320 x 320, `raw` output, all networks in
turns; the ratio is the median of the ratios of each round to NanoDet-Plus-m's.
"""

import argparse
import csv
import json
import random
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nanogfl.config import Config
from nanogfl.evaluation.coco_ap import evaluate
from nanogfl.machine.ort import onnxruntime
from nanogfl.model.detector import Detector, build_detector
from nanogfl.model.predictor import load_predictor
from nanogfl.model.summary import count_complexity
from nanogfl.recipe import config_from_dict
from nanogfl.training.datasets import load_data
from nanogfl.training.loop import train
from nanogfl_export.graph.assemble import assemble
from nanogfl_export.graph.points import Parts
from nanogfl_export.graph.trace import trace_network, trace_row_decode
from nanogfl_export.rewrite.sequence import rewrite_decode, rewrite_network

CLASSES = 20


def sums(channels: list[int], blocks: list[int], neck: int, *, convs: int = 1, **backbone: Any) -> dict[str, Any]:
    """The model section of a SumNet with SumPan of `neck` channels."""
    return {
        "backbone": {"kind": "sumnet", "channels": channels, "blocks": blocks, "kernel": 5, **backbone},
        "neck": {"kind": "sum_pan", "channels": neck},
        "head": {"convs": convs},
    }


REFERENCE = "NanoDet-Plus-m"
CANDIDATES: dict[str, dict[str, Any]] = {
    REFERENCE: {"activation": "leaky_relu", "head": {"point_offset": 0.0}},
    "d5": sums([16, 48, 96, 192], [0, 1, 4, 2], 64),
    "wide": sums([16, 64, 128, 256], [0, 1, 1, 1], 64),
    "sep": sums([16, 48, 96, 192], [0, 2, 5, 2], 64, down="separable"),
    "n48": sums([16, 48, 96, 192], [0, 2, 5, 2], 48),
    "n96": sums([16, 48, 96, 192], [0, 1, 1, 1], 96),
    "2conv": sums([16, 48, 96, 192], [0, 1, 3, 2], 64, convs=2),
    "b16k3": sums([16, 48, 96, 192], [0, 2, 4, 2], 64, kernel=3),
    "e4": sums([16, 32, 64, 128], [1, 2, 6, 2], 64, kernel=3, expansion=4),
    "ghost80": {"backbone": {"width": "0.5x"}, "neck": {"channels": 80}},
}


def config_of(name: str, side: int, **sections: Any) -> Config:
    model = {**CANDIDATES[name], "input": {"hw": [side, side]}}
    return config_from_dict({"model": model, **sections}, name)


def session(detector: Detector, config: Config) -> onnxruntime.InferenceSession:
    """The exported form of a network, with `raw` output, on one thread."""
    traced = Parts(
        network=trace_network(detector, 1),
        row_decode=trace_row_decode(config.model.head),
        grid=detector.grid,
        hw=config.model.input.hw,
        classes=CLASSES,
    )
    parts = replace(traced, network=rewrite_network(traced.network), row_decode=rewrite_decode(traced.row_decode))
    graph = assemble(
        parts, output_format="raw", selection=config.model.selection, distributions=False, decode_chosen=True
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def scatter_norms(detector: Detector) -> None:
    """Statistics as after a training: fresh ones would fold away."""
    draw = torch.Generator().manual_seed(0)
    for norm in (module for module in detector.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        for tensor in (norm.running_var, norm.weight.data):
            assert tensor is not None
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.5)


def measure(rounds: int) -> list[dict[str, Any]]:
    """One row per candidate: parameters, MACs, milliseconds and the ratio to the reference."""
    rows: list[dict[str, Any]] = []
    sessions: dict[str, onnxruntime.InferenceSession] = {}
    for name in CANDIDATES:
        config = config_of(name, 320)
        torch.manual_seed(0)
        detector = build_detector(config.model, CLASSES).eval()
        scatter_norms(detector)
        found = count_complexity(detector)
        rows.append({"name": name, "parameters": found.parameters, "mmac": round(found.macs / 1e6)})
        sessions[name] = session(detector, config)
    frame = np.random.default_rng(0).integers(0, 256, (1, 320, 320, 3), dtype=np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(rounds + 3):
        for name, opened in sessions.items():
            start = time.perf_counter()
            opened.run(None, {opened.get_inputs()[0].name: frame})
            if turn >= 3:  # the first ones warm up
                seconds[name].append(time.perf_counter() - start)
    for row in rows:
        own, base = seconds[row["name"]], seconds[REFERENCE]
        row["milliseconds"] = round(statistics.median(own) * 1e3, 2)
        row["ratio"] = round(statistics.median(a / b for a, b in zip(own, base, strict=True)), 3)
    return rows


def subset(annotations: Path, count: int, to: Path) -> None:
    """A COCO file with `count` of the images, drawn with seed 0."""
    content = json.loads(annotations.read_text(encoding="utf-8"))
    images = sorted(content["images"], key=lambda image: image["id"])
    random.Random(0).shuffle(images)
    kept = {image["id"] for image in images[:count]}
    content["images"] = sorted(images[:count], key=lambda image: image["id"])
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in kept]
    to.write_text(json.dumps(content), encoding="utf-8")


def train_all(out: Path, root: Path, names: list[str]) -> None:
    for split, count in (("train", 2812), ("val", 1000)):
        subset(root / f"{split}.json", count, out / f"{split}.json")
    for name in names:
        config = config_of(
            name,
            160,
            data={
                "root": str(root),
                "train": {"annotations": str((out / "train.json").resolve()), "images": "train"},
                "val": {"annotations": str((out / "val.json").resolve()), "images": "val"},
                "workers": 1,
            },
            train={"epochs": 12, "batch_size": 16, "threads": 1, "eval_every": 12},
        )
        start = time.perf_counter()
        train(config, out / name, resume="auto")
        report = evaluate(load_predictor(out / name / "best.pt"), load_data(config)[1])
        row = {"name": name, "ap": report.ap, "ap50": report.ap50, "minutes": (time.perf_counter() - start) / 60}
        write_rows(out / "ap.csv", [*(read_rows(out / "ap.csv") if (out / "ap.csv").exists() else []), row])


def plot(out: Path) -> None:
    """One table and one picture of all candidates."""
    import matplotlib.pyplot as plt

    times = {row["name"]: row for row in read_rows(out / "time.csv")}
    rows = [{**times[row["name"]], **row} for row in read_rows(out / "ap.csv")]
    write_rows(out / "search.csv", rows)
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for row in rows:
        place = (float(row["ratio"]), 100 * float(row["ap"]))
        axes.plot(*place, "o", color="tab:red" if row["name"] == REFERENCE else "tab:blue")
        axes.annotate(row["name"], place, xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel=f"time relative to {REFERENCE} (one thread)", ylabel="AP after the search's budget")
    axes.grid(alpha=0.3)
    figure.savefig(out / "search.png", dpi=150)


def read_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["time", "train", "plot"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--root", type=Path, help="Pascal VOC as COCO json (train.json, train/, val.json, val/)")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if arguments.step == "time":
        rows = measure(arguments.rounds)
        write_rows(arguments.out / "time.csv", rows)
        for row in rows:
            print(f"{row['name']:16} {row['parameters']:9,} parameters {row['mmac']:4} MMAC {row['ratio']:.3f}")
    elif arguments.step == "train":
        if arguments.root is None:
            parser.error("train needs --root")
        train_all(arguments.out, arguments.root, arguments.only)
    else:
        plot(arguments.out)


if __name__ == "__main__":
    main()
