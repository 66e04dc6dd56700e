"""`nanogfl train`."""

import sys
from pathlib import Path
from typing import Literal

import click

from nanogfl.cli.say import say


class _ResumeAlone(click.Command):
    """Otherwise click would take the argument after a bare --resume as its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        following = [*args[1:], ""]
        bare = [word == "--resume" and next_word != "auto" for word, next_word in zip(args, following, strict=False)]
        return super().parse_args(ctx, [word + "=must" * alone for word, alone in zip(args, bare, strict=True)])


@click.command(cls=_ResumeAlone, short_help="Train a detector on your images.")
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the config; repeatable."
)
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the run goes. [default: runs/CONFIG-NAME]")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="must",
    type=click.Choice(["must", "auto"]),
    metavar="[auto]",
    help="Go on from the run folder's last.pt, wherever the run was stopped. auto: start a new run if there is none,"
    " for systemd, a queue or torchrun --max-restarts.",
)
@click.option(
    "--init-from",
    type=click.Path(path_type=Path),
    help="Start from a checkpoint's weights: --set train.init_from=...",
)
@click.option(
    "--minutes",
    metavar="M",
    help="Length of the whole run; the number of epochs follows from the measured speed. Short for --set"
    " train.minutes=...",
)
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps: short for --set train.device=...")
@click.option(
    "--devices", metavar="N", help="Train in N processes on this machine, one per GPU; auto: one for each GPU it has."
)
@click.option("--strict", is_flag=True, help="A bad box or a missing image is an error instead of left out and listed.")
def train(
    config: Path,
    overrides: tuple[str, ...],
    run_dir: Path | None,
    resume: Literal["must", "auto"] | None,
    init_from: Path | None,
    minutes: str | None,
    device: str | None,
    devices: str | None,
    strict: bool,
) -> None:
    """Train the recipe CONFIG, a YAML that states what differs from the defaults.

    Recipes that come with nanogfl (`nanogfl models`) are found by name from any folder: configs/bccd.yaml, or bccd.

    The data set is COCO json, a VOC split list or YOLO's data.yaml with a folder of images (data.root, data.train,
    data.val); the number of classes comes from it. The run folder gets config.yaml, log.jsonl, last.pt and
    previous.pt, best.pt (averaged weights of the best epoch), curves.png and validation.png. train.loggers adds
    TensorBoard, MLflow or Weights & Biases.

    Ctrl-C, SIGTERM and a closed terminal (SIGHUP, but not under nohup) end the run with its state saved. However it
    ended, --resume goes on as if it had never been stopped. A closed output (| head) does not end the run.

    \b
    nanogfl train configs/bccd.yaml --set data.root=datasets/bccd
    nanogfl train my.yaml --set train.epochs=20 --set model.backbone.width=0.5x
    nanogfl train my.yaml --init-from runs/other/best.pt
    nanogfl train my.yaml --minutes 15
    nanogfl train my.yaml --run-dir runs/my --resume
    nanogfl train my.yaml --run-dir runs/my --resume auto
    nanogfl train my.yaml --set 'train.loggers=[tensorboard]'
    nanogfl train my.yaml --devices 4
    torchrun --nnodes 2 --nproc-per-node 4 ... -m nanogfl train my.yaml
    """
    import json
    import time

    started = time.perf_counter()
    from nanogfl.errors import Interrupted, require

    require("train", "torch", "matplotlib", "rich", "pydantic", "yaml", "pycocotools", "pooch", "filelock")
    from nanogfl.api.training import default_run_dir
    from nanogfl.api.training import train as run_training
    from nanogfl.recipe import load_config, recipe_name
    from nanogfl.training.distributed.launch import count_processes, place_from_environment, run_ranks

    shortcuts = [f"train.device={device}"] if device else []
    shortcuts += [f"train.minutes={minutes}"] if minutes is not None else []
    shortcuts += ["data.strict=true"] if strict else []
    # quoted: YAML would read a file called 1e3 as a number
    shortcuts += [f"train.init_from={json.dumps(str(init_from), ensure_ascii=False)}"] if init_from else []
    loaded = load_config(config, (*overrides, *shortcuts))
    folder = run_dir or default_run_dir(recipe_name(config), resume is not None)
    if devices is not None and (count := count_processes(devices, loaded.train.device)) > 1:
        keys = [word for override in (*overrides, *shortcuts) for word in ("--set", override)]
        again = ["train", str(config), *keys, "--run-dir", str(folder), *([f"--resume={resume}"] if resume else [])]
        sys.exit(run_ranks([sys.executable, "-m", "nanogfl", *again], count))

    place = place_from_environment()
    first = place is None or place.rank == 0
    try:
        must: bool | Literal["auto"] = "auto" if resume == "auto" else resume is not None
        outcome = run_training(loaded, folder, resume=must, verbose=True, started=started)
    except Interrupted as stopped:
        if first:
            say(f"nanogfl: {stopped}", err=True)
        sys.exit(stopped.exit_code)
    if not first:
        return
    say(str(outcome))
    say(f"curves: {folder / 'curves.png'}, pictures: {folder / 'validation.png'}")
    say(f"next: nanogfl export {folder / 'best.pt'}")
