"""`nanogfl ablate`."""

import sys
from pathlib import Path

import click

from nanogfl.cli.say import say


@click.command(short_help="Train variants of a recipe over seeds, and compare them with a paper's table.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the data set; short for --set data.root=...")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for runs and table.  [default: runs/ablate-NAME]")
@click.option("--seeds", metavar="N,N,...", help="Seeds such as 0,1,2, instead of FILE's.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs of every run, instead of FILE's budget.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key for every row; repeatable."
)
@click.option("--fresh", is_flag=True, help="Train everything again, even what --out already holds.")
def ablate(
    file: Path,
    root: Path | None,
    out: Path | None,
    seeds: str | None,
    epochs: int | None,
    overrides: tuple[str, ...],
    fresh: bool,
) -> None:
    """Train every row of the ablation FILE with every seed on the same budget, and compare them.

    FILE is a YAML with these keys. `base`: a recipe, relative to FILE; `set`: changes of it for all rows; `rows`: for
    each name its own `set` and the paper's figure (`paper`, or null); `seeds`; `budget`: {epochs: N} or {steps: N};
    `metric`: ap by default. Steps are updates of the weights, rounded up to whole epochs.

    A figure is that of the averaged weights after the last epoch: no row picks its best epoch on the validation set.
    --out gets a run folder per row and seed, and after each run ablation.md, ablation.json and ablation.png. After a
    kill or Ctrl-C the same command continues; finished runs are not repeated.

    \b
    nanogfl data draw runs/quickstart-data
    nanogfl ablate configs/ablations/gfl-1c.yaml
    nanogfl ablate configs/ablations/gfl-1c.yaml --root datasets/mine --seeds 0,1,2 --epochs 30
    """
    import json
    from dataclasses import replace

    from nanogfl.errors import Interrupted, UserError, require

    require("train", "torch", "matplotlib", "rich", "pydantic", "yaml", "pycocotools")
    from nanogfl.ablate.run import run_ablation
    from nanogfl.ablate.spec import Budget, load_ablation

    shortcuts = [f"data.root={json.dumps(str(root), ensure_ascii=False)}"] if root else []
    ablation = load_ablation(file, (*overrides, *shortcuts))
    if seeds is not None:
        try:
            ablation = replace(ablation, seeds=tuple(int(seed) for seed in seeds.split(",")))
        except ValueError:
            raise UserError(f"--seeds takes different whole numbers such as 0,1,2, got '{seeds}'") from None
    if epochs is not None:
        ablation = replace(ablation, budget=Budget(epochs=epochs))
    try:
        run_ablation(ablation, out or Path("runs") / f"ablate-{file.stem}", fresh=fresh, say=say)
    except KeyboardInterrupt as stopped:
        again = "the same command without --fresh" if fresh else "the same command"
        say(f"nanogfl: stopped; what is trained is saved, {again} goes on", err=True)
        sys.exit(stopped.exit_code if isinstance(stopped, Interrupted) else 130)
