"""`nanogfl data`: draw, check, show and convert data sets."""

import json
import os
import sys
from pathlib import Path
from typing import Literal

import click

from nanogfl.cli.data_cache import show_cache
from nanogfl.cli.data_check import check
from nanogfl.cli.say import say, say_lines


@click.group()
def data() -> None:
    """Data sets: draw, show, check, convert; and the cache of their decoded images."""


data.add_command(check)
data.add_command(show_cache)


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--train", default=800, show_default=True, type=click.IntRange(1, 1_000_000), help="Training images.")
@click.option("--val", default=80, show_default=True, type=click.IntRange(1, 1_000_000), help="Validation images.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Another seed, other pictures.")
@click.option(
    "--long-tail",
    "tail",
    type=click.IntRange(1, 1_000_000),
    metavar="RATIO",
    help="24 classes whose frequencies fall from 1 to 1/RATIO over the training images.",
)
def draw(folder: Path, train: int, val: int, seed: int, tail: int | None) -> None:
    """Draw a data set into FOLDER, to train on without a download.

    Pictures of discs, rectangles, triangles, stars, rings and crosses that cover one another, on textured
    backgrounds, with their boxes in COCO's format: FOLDER/train.json, FOLDER/val.json and the .jpg files in
    FOLDER/train and FOLDER/val. FOLDER must be new or empty; if it holds the same data set, nothing is written.

    With --long-tail the classes are these shapes in four colours, sorted by frequency: the first, "red disc", is drawn
    RATIO times as often as the last. All classes are equally frequent in the validation images, so that rare classes
    can be measured.

    \b
    nanogfl data draw shapes
    nanogfl data draw shapes-tail --long-tail 100
    nanogfl data draw shapes-large --train 5000 --val 500
    """
    from nanogfl.data.synthetic.dataset import draw_dataset

    if sys.stderr.isatty():
        with click.progressbar(length=train + val, label="drawing", file=sys.stderr) as bar:
            drawn = draw_dataset(folder, train=train, val=val, seed=seed, tail=tail, on_image=lambda: bar.update(1))
    else:  # in a log a progress bar is noise
        drawn = draw_dataset(folder, train=train, val=val, seed=seed, tail=tail)
    say(f"{'drew' if drawn else 'already there, left as it is:'} {folder}")
    for split in ("train", "val"):
        say_lines(_summary(folder, split))
    say(f"look at {folder}{os.sep}train; next: nanogfl train configs/quickstart.yaml --set data.root={folder}")


@data.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Where the sheet goes: .png or .jpg."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the config; repeatable."
)
@click.option("--epoch", default=0, show_default=True, type=click.IntRange(0), help="Counted from 0.")
@click.option("--images", default=16, show_default=True, type=click.IntRange(1, 256), help="Pictures on the sheet.")
@click.option(
    "--renderer", default="cv2", show_default=True, type=click.Choice(["cv2", "device"]), help="What paints them."
)
@click.option("--strict", is_flag=True, help="Bad boxes and missing images are errors; by default they are listed.")
def show(
    config: Path,
    output: Path,
    overrides: tuple[str, ...],
    epoch: int,
    images: int,
    renderer: Literal["cv2", "device"],
    strict: bool,
) -> None:
    """Save a contact sheet of the training pictures of the recipe CONFIG, with their boxes.

    The first pictures of an epoch, augmented as in training, at the network's size. Hatched regions are neither object
    nor background: crowds, and objects of which too little is visible (augment.keep_visible).

    \b
    nanogfl data show configs/bccd.yaml -o sheet.png
    nanogfl data show my.yaml -o sheet.jpg --set augment.mosaic=1 --set augment.rotate=10 --epoch 3
    """
    from nanogfl.errors import require

    require("train", "torch", "pydantic", "yaml", "rich")
    from nanogfl.errors import UserError
    from nanogfl.io.atomic import atomic_path

    if output.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"{output} must end in .png or .jpg: that decides the sheet's format")
    import cv2

    from nanogfl.data.augment.sheet import contact_sheet
    from nanogfl.data.cache.frames import open_frames
    from nanogfl.data.loader import Loader
    from nanogfl.data.readers.read import load_split
    from nanogfl.recipe import load_config
    from nanogfl.training.reports.progress import show_reading

    shortcuts = [*(["data.strict=true"] if strict else []), *(["data.cache=device"] if renderer == "device" else [])]
    loaded = load_config(config, (*overrides, *shortcuts))
    if epoch >= loaded.train.epochs:
        raise UserError(f"--epoch {epoch} is not in this recipe: its {loaded.train.epochs} epochs are counted from 0")
    root, split = Path(loaded.data.root), loaded.data.train
    dataset = load_split(root / split.annotations, root / split.images, strict=loaded.data.strict)
    zoom = loaded.data.cache_zoom
    dataset, frames = open_frames(dataset, loaded.model.input, loaded.data, zoom=zoom, track=show_reading)
    sheet = contact_sheet(Loader(dataset, loaded, frames), epoch=epoch, count=images)
    encoded, content = cv2.imencode(output.suffix.lower(), sheet)
    assert encoded, f"OpenCV cannot write {output.suffix}"
    with atomic_path(output) as temporary:
        temporary.write_bytes(content.tobytes())
    say(f"{dataset.name}: {dataset.summary()}")
    if dataset.problems:
        say(f"  left out or mended: {dataset.problem_summary()}")
    say(f"{min(images, len(dataset.images))} pictures of epoch {epoch}: {output}")


@data.command()
@click.argument("annotations", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The COCO json to write.")
@click.option("--force", is_flag=True, help="Overwrite OUTPUT where it exists.")
@click.option("--strict", is_flag=True, help="Bad boxes and missing images are errors; by default they are listed.")
def convert(annotations: Path, images: Path, output: Path, force: bool, strict: bool) -> None:
    """Write the data set of ANNOTATIONS, whose images lie in the folder IMAGES, as COCO json.

    ANNOTATIONS is the .txt list of a Pascal VOC split, YOLO's data.yaml (IMAGES is then the folder of one split's
    images) or a COCO json, which is checked. Training and evaluation read all of these directly; the conversion is for
    other tools. It shows what is left out, and writes what is corrected (names, sizes, rotated boxes). The images are
    not moved: file names are relative to IMAGES.

    \b
    nanogfl data convert VOC2007/ImageSets/Main/train.txt VOC2007/JPEGImages -o train.json
    nanogfl data convert mine/data.yaml mine/images/train -o mine/train.json
    """
    from nanogfl.data.readers.read import load_split
    from nanogfl.data.readers.write_coco import write_coco
    from nanogfl.errors import UserError

    if output.exists() and not force:
        raise UserError(f"{output} is already there: give --force to overwrite it, or another -o")
    dataset = load_split(annotations, images, strict=strict)
    write_coco(dataset, images, output)
    say(f"{dataset.name}: {dataset.summary()}")
    if dataset.problems:
        say(f"  left out or mended: {dataset.problem_summary()}")
    for problem in dataset.problems:
        say(f"  {problem.where}: {problem.reason}")
    say(f"{output}: COCO json, file names relative to {images}")


def _summary(folder: Path, split: str) -> str:
    """The content of a split, in two lines."""
    content = json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))
    annotations = content["annotations"]
    empty = len(content["images"]) - len({annotation["image_id"] for annotation in annotations})
    counts = {category["id"]: 0 for category in content["categories"]}
    for annotation in annotations:
        counts[annotation["category_id"]] += 1
    boxes = ", ".join(f"{counts[category['id']]} {category['name']}" for category in content["categories"])
    return (
        f"{split + '.json':<11}{len(content['images'])} images ({empty} without objects), {len(annotations)} boxes\n"
        f"{'':<11}{boxes}"
    )
