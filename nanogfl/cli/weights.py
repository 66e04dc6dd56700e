"""`nanogfl weights`."""

import os
from pathlib import Path

import click

from nanogfl.cli.say import say


@click.group(invoke_without_command=True, short_help="Weights to start from by name: list, fetch, clear.")
@click.pass_context
def weights(context: click.Context) -> None:
    """List the weights that --init-from takes by name, and which of them are on this machine.

    They are detectors that were trained on COCO's 80 classes. The first training that asks for one downloads it, once;
    it is then a checkpoint in the cache folder ($NANOGFL_CACHE moves it), and needs no network. Where no sha256 was
    published, that of the first download is kept, and a later download must have it too. NANOGFL_WEIGHTS_URL is the
    URL or folder of a mirror, which has the files under their own names.

    \b
    nanogfl weights
    nanogfl weights fetch nanodet-plus-m-416
    nanogfl train finetune --init-from nanodet-plus-m-416 --set data.root=datasets/mine
    """
    if context.invoked_subcommand is not None:
        return
    from nanogfl.io.cache_folder import cache_folder
    from nanogfl.io.read_file import is_file
    from nanogfl.training.start.kept import kept_files
    from nanogfl.training.start.published import MIRROR, PUBLISHED

    say(f"{'name':<24}{'AP':>5}{'download':>11}  {'here':<9}{'recipe of the same network':<46}from")
    for each in PUBLISHED:
        if each.kind == "shipped":
            here = "shipped" if is_file(each.path) else "no"
        else:
            here = _size(each.path.stat().st_size) if is_file(each.path) else "no"
        source = f"{each.page} ({each.licence})"
        say(f"{each.name:<24}{each.ap:>5.1f}{each.megabytes:>8.1f} MB  {here:<9}{each.recipe:<46}{source}")
    say("AP on COCO val2017 in percent, as published; a detector also starts its network at another input size")
    if mirror := os.environ.get(MIRROR):
        say(f"{MIRROR}: downloads come from {mirror}")
    files = kept_files()
    known = {each.path for each in PUBLISHED}
    for path in files:
        if path not in known:
            say(f"also here: {path.name}, {_size(path.stat().st_size)}, which model.backbone.weights downloaded")
    total = sum(path.stat().st_size for path in files)
    say(f"cache: {cache_folder('weights')}, {_size(total) if files else 'empty'}")


@weights.command()
@click.argument("name")
@click.option("--from", "file", type=click.Path(path_type=Path), help="The file, which you have already.")
def fetch(name: str, file: Path | None) -> None:
    """Download the weights NAME and keep them as a checkpoint, or take them from a file.

    The file is the one that their author published. Nothing in it is executed.

    \b
    nanogfl weights fetch nanodet-plus-m-416
    nanogfl weights fetch nanodet-m --from Downloads/nanodet_m.ckpt
    """
    from nanogfl.api.weights import fetch_weights

    fetch_weights(name, file, verbose=True)
    say(f"next: nanogfl train finetune --init-from {name} --set data.root=FOLDER")


@weights.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def clear(names: tuple[str, ...]) -> None:
    """Remove the weights NAME from the cache folder; without a name, all that were fetched or downloaded.

    \b
    nanogfl weights clear nanodet-m
    nanogfl weights clear
    """
    from nanogfl.io.cache_folder import cache_folder
    from nanogfl.training.start.kept import kept_files, remove_kept
    from nanogfl.training.start.published import require_published

    removed = [(path, remove_kept(path)) for path in kept_files(tuple(map(require_published, names)))]
    for path, size in removed:
        say(f"removed {path}, {_size(size)}")
    if not removed:
        say(f"nothing to remove in {cache_folder('weights')}")


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
