"""`nanogfl explain`: draws the distributions behind the boxes of one image."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nanogfl.cli.ending import stoppable
from nanogfl.cli.say import say
from nanogfl.cli.score import SCORE
from nanogfl.contract.shown_score import SHOWN_SCORE
from nanogfl.errors import UserError

if TYPE_CHECKING:
    from nanogfl.contract.detections import Detections


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("image", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="[default: IMAGE_explained.png, in this folder]")
@click.option("--threshold", type=SCORE, default=SHOWN_SCORE, show_default=True, help="Lowest score shown.")
@click.option(
    "--max-boxes", type=click.IntRange(min=1), default=6, show_default=True, help="Most boxes shown, best first."
)
@stoppable()
def explain(model: Path, image: Path, output: Path | None, threshold: float, max_boxes: int) -> None:
    """Draw the predicted distribution of each side of MODEL's boxes in IMAGE.

    A side lies at the expectation of its distribution; the wider the distribution, the less sure the model is. The
    picture shows every box enlarged, with one bar per bin. MODEL is a checkpoint, or an .onnx that was exported with
    --distributions.

    \b
    nanogfl explain runs/bccd/best.pt photo.jpg
    nanogfl explain runs/bccd/best.onnx photo.jpg -o sides.png --max-boxes 3
    """
    import numpy as np

    from nanogfl.api.model import load
    from nanogfl.draw.sides import explain_picture
    from nanogfl.io.images import IMAGE_SUFFIXES, read_frame
    from nanogfl_deploy.sinks.pictures import write_picture

    target = output or Path(f"{image.stem}_explained.png")
    if target.suffix.lower() not in IMAGE_SUFFIXES:
        raise UserError(f"the output must be an image file, got {target}: name a .png")
    if os.path.realpath(target) == os.path.realpath(image):
        raise UserError(f"{target} would replace the image: name another file with -o")
    opened = load(model)
    if opened.explain is None:
        raise UserError(f"{model} has no distributions: export it again with `nanogfl export --distributions`")
    frame = read_frame(image)
    found = opened.explain(frame).above(threshold)
    shown = found.take(np.arange(min(len(found), max_boxes)))
    for line in side_table(shown, opened.class_names):
        say(line)
    write_picture(target, explain_picture(frame, shown, opened.class_names))
    count = f"{len(found)} detection{'s' * (len(found) != 1)}" if len(found) else "no detections"
    only = f", the best {len(shown)} shown" if len(shown) < len(found) else ""
    say(f"{count} of score {threshold:g} or more{only}; saved {target}")


def side_table(detections: "Detections", class_names: tuple[str, ...]) -> list[str]:
    """A heading, and one line per detection: position and standard deviation of each side in the frame's pixels."""
    if not len(detections):
        return []
    assert detections.sides is not None
    deviation = detections.sides.deviation()
    width = max(5, *(len(class_names[int(label)]) for label in detections.labels))
    heading = "".join(f"{side + ' (px)':>17}" for side in ("left", "top", "right", "bottom"))
    lines = [f" #  {'class':<{width}}  score{heading}"]
    for index, label in enumerate(detections.labels.tolist()):
        sides = zip(detections.boxes[index].tolist(), deviation[index].tolist(), strict=True)
        places = "".join(f"{at:9.1f} ± {sigma:5.1f}" for at, sigma in sides)
        lines.append(f"{index + 1:>2}  {class_names[label]:<{width}}  {detections.scores[index]:.3f}{places}")
    return lines
