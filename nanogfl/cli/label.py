"""`nanogfl label`: labels that a model proposes."""

from pathlib import Path
from typing import Literal

import click

from nanogfl.cli.ending import stoppable
from nanogfl.cli.say import say
from nanogfl.cli.score import SCORE
from nanogfl.contract.shown_score import SHOWN_SCORE


@click.command(short_help="Propose labels for images, least certain first.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--model", required=True, type=click.Path(path_type=Path), help="An .onnx, or a checkpoint (.pt).")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the labels, not in FOLDER."
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["coco", "yolo", "voc"]),
    default="coco",
    show_default=True,
    help="Format of the labels.",
)
@click.option("--threshold", type=SCORE, default=SHOWN_SCORE, show_default=True, help="Lowest score of a proposed box.")
@click.option("--force", is_flag=True, help="Write over label files that are there.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads of onnxruntime.  [default: one per core, at most 16]"
)
@stoppable()
def label(
    folder: Path,
    model: Path,
    output: Path,
    output_format: Literal["coco", "yolo", "voc"],
    threshold: float,
    force: bool,
    threads: int | None,
) -> None:
    """Propose labels for the images in FOLDER and in its folders, to be corrected in a labelling tool.

    An .onnx needs no torch. The folder of -o becomes a data set that `nanogfl train` reads, with a link to the images:

    \b
    coco   labels.json
    yolo   data.yaml, classes.txt and labels/NAME.txt
    voc    Annotations/NAME.xml and ImageSets/Main/all.txt

    order.csv lists the images by falling doubt: correct the first ones first. A detection's doubt is 1 if its score is
    the threshold and falls to 0 at the scores 0 and 1; a proposed box adds its relative spread, which is the mean over
    its sides of standard deviation / width or height of the box. An image's doubt is the mean over all detections of
    the model, also below the threshold, weighted by their scores.

    No existing file is changed without --force. An image whose label file is there keeps it, so that a stopped run goes
    on when it is started again.

    \b
    nanogfl label photos --model runs/bccd/best.onnx -o proposals
    nanogfl label photos --model best.onnx -o proposals --format yolo --threshold 0.3
    """
    from nanogfl.api.label_folder import ORDER
    from nanogfl.api.labelling import label as run_labelling

    found = run_labelling(
        folder,
        output,
        model,
        output_format=output_format,
        threshold=threshold,
        force=force,
        threads=threads,
        verbose=True,
    )
    boxes = sum(count for *_, count in found.order)
    say(f"{output}: {boxes} boxes in {len(found.order)} images, {len(found.left_out)} left out")
    if found.kept:
        say(f"{found.kept} label files were there and stay as they are (--force writes them anew)")
    name, doubt, _ = found.order[0]
    say(f"least certain first: {output / ORDER}, from {name} (doubt {doubt:.2f})")
    say(f"next: correct them in a labelling tool, then nanogfl train {output}")
