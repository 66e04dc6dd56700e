"""`nanogfl ablate`."""

import sys
from pathlib import Path

import click

from nanogfl.cli.say import say


@click.command(short_help="Train a recipe's variants over seeds, and print them beside a paper's table.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the data set: short for --set data.root=...")
@click.option("--out", type=click.Path(path_type=Path), help="Where runs and table go.  [default: runs/ablate-NAME]")
@click.option("--seeds", metavar="N,N,...", help="Instead of FILE's, such as 0,1,2.")
@click.option("--epochs", type=click.IntRange(1), help="Of every run, instead of FILE's budget.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key for every row; repeatable."
)
@click.option("--fresh", is_flag=True, help="Train everything again, whatever --out holds of it.")
def ablate(
    file: Path,
    root: Path | None,
    out: Path | None,
    seeds: str | None,
    epochs: int | None,
    overrides: tuple[str, ...],
    fresh: bool,
) -> None:
    """Train every row of the ablation FILE with every seed on the same budget, and compare.

    FILE is a YAML: `base`, a recipe relative to it; `set`, what all rows change of it; `rows`, a name for each with
    its own `set` and the paper's figure (`paper`, or null); `seeds`; `budget`, {epochs: N} or {steps: N}; `metric`,
    ap by default. Steps are updates of the weights, rounded up to whole epochs. There is no budget in minutes: on a
    shared machine the rows would not get the same; their minutes stand in the table.

    A figure is that of the last epoch's averaged weights, so no row picks its best epoch on the validation set. --out
    gets a run folder for each row and seed, and ablation.md, ablation.json and ablation.png after each run. After a
    kill or Ctrl-C the same command goes on; finished runs are not repeated.

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
    from nanogfl.ablate.spec import check_seeds, load_ablation

    shortcuts = [f"data.root={json.dumps(str(root), ensure_ascii=False)}"] if root else []
    ablation = load_ablation(file, (*overrides, *shortcuts))
    if seeds is not None:
        try:
            given = [int(seed) for seed in seeds.split(",")]
        except ValueError:
            raise UserError(f"--seeds takes whole numbers such as 0,1,2, got '{seeds}'") from None
        ablation = replace(ablation, seeds=check_seeds(given, "--seeds"))
    if epochs is not None:
        ablation = replace(ablation, epochs=epochs, steps=None)
    try:
        run_ablation(ablation, out or Path("runs") / f"ablate-{file.stem}", fresh=fresh, say=say)
    except KeyboardInterrupt as stopped:
        again = "the same command without --fresh" if fresh else "the same command"
        say(f"nanogfl: stopped; what is trained is saved, {again} goes on", err=True)
        sys.exit(stopped.exit_code if isinstance(stopped, Interrupted) else 130)
