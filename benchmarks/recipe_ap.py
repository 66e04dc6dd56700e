"""AP of a recipe over seeds, with its training time, and what is left of it in the exported .onnx.

python benchmarks/recipe_ap.py configs/bccd.yaml --root DATA/bccd --seeds 0 1 2

Trains, exports through the gate, evaluates best.pt and best.onnx. A table for people, one JSON line last.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch

from nanogfl.api.gate_images import gate_frames
from nanogfl.evaluation.coco_ap import evaluate
from nanogfl.machine.ort import onnxruntime
from nanogfl.model.predictor import load_predictor
from nanogfl.recipe import load_config
from nanogfl.training.datasets import load_data
from nanogfl.training.loop import train
from nanogfl_deploy.bench.machine import cpu_name
from nanogfl_deploy.runtime import Detector
from nanogfl_export.export import export_checkpoint


def run(recipe: Path, root: str, seed: int, overrides: list[str], folder: Path) -> dict[str, object]:
    config = load_config(recipe, (f"data.root={root}", f"train.seed={seed}", *overrides))
    start = time.perf_counter()
    outcome = train(config, folder)
    seconds = time.perf_counter() - start

    origin, frames = gate_frames(folder / "best.pt", None, 32)
    exported = export_checkpoint(
        folder / "best.pt", folder / "best.onnx", frames=frames, frames_origin=origin, open_device=Detector
    )
    val_set = load_data(config)[1]
    checkpoint = evaluate(load_predictor(folder / "best.pt"), val_set)
    device = evaluate(Detector(folder / "best.onnx"), val_set)
    assert checkpoint.ap is not None
    assert device.ap is not None
    assert outcome.report.ap is not None
    return {
        "seed": seed,
        "minutes": seconds / 60,
        "ap": checkpoint.ap,
        "ap50": checkpoint.ap50,
        "ap75": checkpoint.ap75,
        "best_epoch": outcome.best_epoch,
        "last_ap": outcome.report.ap,
        "onnx_ap": device.ap,
        "onnx_difference": device.ap - checkpoint.ap,
        "parity": str(exported.parity),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--root", required=True, help="folder of the data set (data.root)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", dest="overrides", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("runs/recipe_ap"), help="where the run folders go")
    arguments = parser.parse_args()

    name = f"{arguments.recipe.stem}-{Path(arguments.root).name}"
    rows = []
    for seed in arguments.seeds:
        folder = arguments.runs / f"{name}-seed{seed}"
        if (folder / "last.pt").exists():
            parser.error(f"{folder} holds a run already: move it away or choose another --runs")
        rows.append(run(arguments.recipe, arguments.root, seed, arguments.overrides, folder))

    print(f"\n{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, ", end="")
    print(f"onnxruntime {onnxruntime.__version__}, Python {platform.python_version()}")
    print("seed  minutes     AP   AP50   AP75  best epoch  last AP  .onnx AP  difference")
    for row in rows:
        print(
            f"{row['seed']:4}  {row['minutes']:7.1f}  {row['ap']:.3f}  {row['ap50']:.3f}  {row['ap75']:.3f}"
            f"  {row['best_epoch']:10}  {row['last_ap']:7.3f}  {row['onnx_ap']:8.3f}  {row['onnx_difference']:+.5f}"
        )
    median = statistics.median(float(str(row["ap"])) for row in rows)
    print(f"median AP {median:.3f}")
    print(json.dumps({"recipe": str(arguments.recipe), "data": name, "median_ap": median, "runs": rows}))


if __name__ == "__main__":
    main()
