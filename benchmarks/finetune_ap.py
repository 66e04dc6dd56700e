"""What a start from weights is worth on little data: AP of short trainings from several starts, all of one network.

python benchmarks/finetune_ap.py configs/bccd.yaml --root DATA/bccd --model-from COCO.pt --epochs 3 10
    --start scratch --start trunk=TRUNK.pth --start checkpoint=COCO.pt [--set model.input.hw=[320,320] train.lr=5e-4]

Every number of epochs is a schedule of its own (warm-up, cosine), evaluated once at its end. The model section is the
recipe's, or with --model-from the checkpoint's; --set comes last. The warm-up is at most a fifth of the steps. Rows are
appended to --log as they finish; one that is there already is not trained again. A table for people, JSON as last line.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch

from nanogfl.config import Config
from nanogfl.data.order import EpochOrder
from nanogfl.data.readers.read import load_split
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.recipe import load_config
from nanogfl.training.loop import train
from nanogfl_deploy.bench.machine import cpu_name

KINDS = {"scratch": None, "trunk": "model.backbone.weights", "checkpoint": "train.init_from"}
WARMUP_SHARE = 0.2


def assemble(recipe: Path, root: str, start: str, epochs: int, model_from: Path | None, overrides: list[str]) -> Config:
    """The recipe with another checkpoint's model section, this start and this schedule; `overrides` come last."""
    wanted = [f"data.root={json.dumps(root)}", f"train.epochs={epochs}", f"train.eval_every={epochs}"]
    if model_from:
        model: dict[str, Any] = load_checkpoint(model_from).config.to_dict()["model"]
        model["backbone"] |= {"weights": None, "weights_sha256": None, "weights_order": "bgr"}
        wanted.append(f"model={json.dumps(model)}")
    kind, _, file = start.partition("=")
    if key := KINDS[kind]:
        wanted.append(f"{key}={json.dumps(file)}")
    config = load_config(recipe, (*wanted, *overrides))
    split = config.data.train
    images = load_split(Path(root) / split.annotations, Path(root) / split.images)
    order = EpochOrder(images, seed=config.train.seed, repeat_threshold=config.data.repeat_threshold)
    steps = order.length // min(config.train.batch_size, order.length) * epochs
    warmup = min(config.train.warmup_steps, int(WARMUP_SHARE * steps))
    return load_config(recipe, (*wanted, *overrides, f"train.warmup_steps={warmup}"))


def run(config: Config, folder: Path) -> dict[str, Any]:
    """One training; minutes include reading the images and the evaluation at the end."""
    begin = time.perf_counter()
    report = train(config, folder).report
    return {
        "ap": report.ap,
        "ap50": report.ap50,
        "ap75": report.ap75,
        "minutes": (time.perf_counter() - begin) / 60,
        "warmup_steps": config.train.warmup_steps,
        "lr": config.train.lr,
        "hw": list(config.model.input.hw),
        "run": str(folder),
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def logged(log: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """The row of an earlier call with the same recipe, data, start, schedule, model and overrides."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]  # a kill may have cut the last one
    return next((row for row in rows if all(row.get(name) == value for name, value in key.items())), None)


def append(log: Path, row: dict[str, Any]) -> None:
    whole = not log.exists() or log.read_bytes().endswith(b"\n") or not log.stat().st_size
    with log.open("a", encoding="utf-8") as file:
        file.write(("" if whole else "\n") + json.dumps(row) + "\n")


def free_folder(folder: Path) -> Path:
    """A run that was killed stays where it is."""
    candidates = [folder, *(folder.with_name(f"{folder.name}-again{number}") for number in range(2, 1000))]
    return next(candidate for candidate in candidates if not candidate.exists())


def show(value: float | None) -> str:
    return "  n/a" if value is None else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--root", required=True, help="folder of the data set (data.root)")
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 10])
    parser.add_argument("--start", action="append", required=True, help="scratch, trunk=FILE or checkpoint=FILE")
    parser.add_argument("--model-from", type=Path, help="a checkpoint whose model section every start trains")
    parser.add_argument("--set", dest="overrides", nargs="*", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("runs/finetune_ap"), help="where the run folders go")
    parser.add_argument("--log", type=Path, help="rows as JSON lines [default: RUNS/rows.jsonl]")
    arguments = parser.parse_args()
    for start in arguments.start:
        kind, _, file = start.partition("=")
        if kind not in KINDS or (kind == "scratch") == bool(file):
            parser.error(f"--start takes scratch, trunk=FILE or checkpoint=FILE, got {start}")

    log = arguments.log or arguments.runs / "rows.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    data, model_from = Path(arguments.root).name, arguments.model_from
    rows: list[dict[str, Any]] = []
    plan = [(epochs, start) for epochs in arguments.epochs for start in arguments.start]
    # all of them are assembled before the first one trains: a wrong path or key ends the benchmark at once
    configs = [assemble(arguments.recipe, arguments.root, s, e, model_from, arguments.overrides) for e, s in plan]
    for (epochs, start), config in zip(plan, configs, strict=True):
        key = {
            "recipe": str(arguments.recipe),
            "data": data,
            "start": start,
            "epochs": epochs,
            "model_from": str(model_from) if model_from else None,
            "overrides": arguments.overrides,
            "seed": config.train.seed,
        }
        row = logged(log, key)
        if row is None:
            kind, _, file = start.partition("=")
            name = "-".join(
                part for part in (arguments.recipe.stem, data, kind, Path(file).stem, f"{epochs}epochs") if part
            )
            row = key | run(config, free_folder(arguments.runs / name))
            append(log, row)
        rows.append(row)

    print(f"\n{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}; {data}, rows in {log}")
    print("epochs  minutes     AP   AP50   AP75  start")
    for row in rows:
        figures = "  ".join(show(row[name]) for name in ("ap", "ap50", "ap75"))
        print(f"{row['epochs']:6}  {row['minutes']:7.1f}  {figures}  {row['start']}")
    print(json.dumps({"recipe": str(arguments.recipe), "data": data, "rows": rows}))


if __name__ == "__main__":
    main()
