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
@click.argument("recipe", metavar="RECIPE_OR_FOLDER", type=click.Path(path_type=Path))
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
    metavar="PATH|NAME",
    help="Start from a detector: a checkpoint's path, a name that `nanogfl weights` lists, or auto, the best of those"
    " that need no download. Short for --set train.init_from=... [default for a folder: auto]",
)
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    help="Learn from a trained checkpoint as well: --set train.teacher=...",
)
@click.option(
    "--minutes",
    metavar="M",
    help="Length of the whole run; the number of epochs follows from the measured speed. Short for --set"
    " train.minutes=...",
)
@click.option(
    "--format",
    "data_format",
    metavar="NAME",
    help="Of a folder: coco, cvat, voc, labelme, createml, yolo or csv. [default: found out]",
)
@click.option(
    "--classes",
    metavar="A,B,...",
    help="Of a folder: the names of YOLO's class numbers 0, 1, ..., or the classes to use.",
)
@click.option(
    "--train", "train_part", metavar="PART", help="Of a folder: the training images, a folder, list or file in it."
)
@click.option("--val", "val_part", metavar="PART", help="Of a folder: the validation images, likewise.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps: short for --set train.device=...")
@click.option(
    "--devices", metavar="N", help="Train in N processes on this machine, one per GPU; auto: one for each GPU it has."
)
@click.option("--strict", is_flag=True, help="A bad box or a missing image is an error instead of left out and listed.")
def train(
    recipe: Path,
    overrides: tuple[str, ...],
    run_dir: Path | None,
    resume: Literal["must", "auto"] | None,
    init_from: str | None,
    teacher: Path | None,
    minutes: str | None,
    data_format: str | None,
    classes: str | None,
    train_part: str | None,
    val_part: str | None,
    device: str | None,
    devices: str | None,
    strict: bool,
) -> None:
    """Train a detector for a folder of annotated images, or by a recipe, a YAML that says what differs from the
    defaults.

    A FOLDER is read as it is: COCO, VOC, YOLO, CVAT, LabelMe, CreateML or csv, with or without a validation part. What
    was found, how it is split and each setting that follows from the images is shown, with its reason; --set changes
    one. The run folder then also gets data/train.json and data/val.json, best.onnx (verified against PyTorch), and
    page.md: AP per class, the best and the worst detections, curves, choices, what was left out, what to do next.

    Recipes that come with nanogfl (`nanogfl models`) are found by name from any folder: configs/bccd.yaml, or bccd.

    The data set is COCO json, a VOC split list or YOLO's data.yaml with a folder of images (data.root, data.train,
    data.val); the number of classes comes from it. The run folder gets config.yaml, log.jsonl, last.pt and
    previous.pt, best.pt (averaged weights of the best epoch), curves.png and validation.png. train.loggers adds
    TensorBoard, MLflow or Weights & Biases.

    Ctrl-C, SIGTERM and a closed terminal (SIGHUP, but not under nohup) end the run with its state saved. However it
    ended, --resume goes on as if it had never been stopped. A closed output (| head) does not end the run.

    \b
    nanogfl train photos
    nanogfl train photos --minutes 15 --init-from nanodet-plus-m-416
    nanogfl train photos --format yolo --classes cat,dog --val images/holdout
    nanogfl train photos --run-dir runs/photos --resume
    nanogfl train configs/bccd.yaml --set data.root=datasets/bccd
    nanogfl train my.yaml --set train.epochs=20 --set model.backbone.width=0.5x
    nanogfl train my.yaml --init-from runs/other/best.pt
    nanogfl train finetune --init-from nanodet-plus-m-416 --set data.root=datasets/mine
    nanogfl train my.yaml --teacher runs/large/best.pt
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
    from nanogfl.api.ending import Finished
    from nanogfl.api.folder_story import Reading
    from nanogfl.api.training import resolve, train_resolved
    from nanogfl.io.read_file import is_folder
    from nanogfl.training.checkpointing.run_dir import CONFIG
    from nanogfl.training.distributed.launch import count_processes, place_from_environment, run_ranks

    shortcuts = [f"train.device={device}"] if device else []
    shortcuts += [f"train.minutes={minutes}"] if minutes is not None else []
    shortcuts += ["data.strict=true"] if strict else []
    # quoted: YAML would read a file called 1e3 as a number
    for key, source in (("init_from", init_from), ("teacher", teacher)):
        shortcuts += [f"train.{key}={json.dumps(str(source), ensure_ascii=False)}"] if source else []
    go_on: bool | Literal["auto"] = "auto" if resume == "auto" else resume is not None
    names = None if classes is None else [name.strip() for name in classes.split(",")]
    run = resolve(
        recipe,
        run_dir,
        overrides=(*overrides, *shortcuts),
        resume=go_on,
        reading=Reading(data_format, names, train_part, val_part),
        strict=strict,
        verbose=True,
    )
    folder = run.folder
    if devices is not None and (count := count_processes(devices, run.config.train.device)) > 1:
        config, settings = recipe, [*overrides, *shortcuts]
        if is_folder(recipe):  # its recipe is in the run folder now; a resumed one may name the folder's former place
            config, data = folder / CONFIG, run.config.data
            places = {"root": data.root, "train.annotations": data.train.annotations}
            places["val.annotations"] = data.val.annotations
            settings += [f"data.{key}={json.dumps(place, ensure_ascii=False)}" for key, place in places.items()]
        again = ["train", str(config), *(word for setting in settings for word in ("--set", setting))]
        again += ["--run-dir", str(folder), *([f"--resume={resume}"] if resume else [])]
        sys.exit(run_ranks([sys.executable, "-m", "nanogfl", *again], count))

    place = place_from_environment()
    first = place is None or place.rank == 0
    try:
        outcome = train_resolved(run, resume=go_on, verbose=True, started=started)
    except Interrupted as stopped:
        if first:
            say(f"nanogfl: {stopped}", err=True)
        sys.exit(stopped.exit_code)
    if not first:
        return
    if isinstance(outcome, Finished):  # it has said everything
        return
    say(str(outcome))
    say(f"curves: {folder / 'curves.png'}, pictures: {folder / 'validation.png'}")
    say(f"next: nanogfl export {folder / 'best.pt'}")
