"""`nanogfl data`: data sets."""

import json
import os
import sys
from pathlib import Path

import click


@click.group()
def data() -> None:
    """Data sets: draw, look, check."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--train", default=800, show_default=True, type=click.IntRange(1, 1_000_000), help="Training images.")
@click.option("--val", default=80, show_default=True, type=click.IntRange(1, 1_000_000), help="Validation images.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Another seed, other pictures.")
def draw(folder: Path, train: int, val: int, seed: int) -> None:
    """Draw the embedded data set into FOLDER: something to train on with no download.

    Pictures of discs, rectangles, triangles, stars, rings and crosses that cover one another, on textured
    backgrounds, with their boxes in COCO's format: FOLDER/train.json, FOLDER/val.json and the .jpg files in
    FOLDER/train and FOLDER/val. FOLDER must be new, empty, or hold this very data set, which is then left as it is.

    \b
    nanogfl data draw shapes
    nanogfl data draw shapes-large --train 5000 --val 500
    """
    from nanogfl.data.synthetic import draw_dataset

    if sys.stderr.isatty():
        with click.progressbar(length=train + val, label="drawing", file=sys.stderr) as bar:
            drawn = draw_dataset(folder, train=train, val=val, seed=seed, on_image=lambda: bar.update(1))
    else:  # in a log a progress bar is noise
        drawn = draw_dataset(folder, train=train, val=val, seed=seed)
    click.echo(f"{'drew' if drawn else 'already there, left as it is:'} {folder}")
    for split in ("train", "val"):
        click.echo(_summary(folder, split))
    click.echo(f"look at {folder}{os.sep}train; next: nanogfl train configs/quickstart.yaml --set data.root={folder}")


def _summary(folder: Path, split: str) -> str:
    """What a split holds, in two lines."""
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
