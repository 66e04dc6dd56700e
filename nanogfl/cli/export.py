"""`nanogfl export`."""

from pathlib import Path

import click

from nanogfl.api.exporting import GATE_IMAGES
from nanogfl.cli.say import say


@click.command(short_help="Write one verified .onnx from a checkpoint.")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="[default: CHECKPOINT with the suffix .onnx]")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["detections", "raw"]),
    default="detections",
    show_default=True,
    help="detections: boxes, scores, labels and spread of the best 100; raw: of every point, for runtimes without TopK"
    " or NonMaxSuppression.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Compare on the images of this folder; 'embedded': on drawn pictures."
    " [default: the validation set that the checkpoint names]",
)
@click.option("--image-count", default=GATE_IMAGES, show_default=True, help="Number of images to compare on.")
@click.option("--dynamic-batch", is_flag=True, help="Accept any number of pictures at a time. [default: one]")
@click.option(
    "--distributions", is_flag=True, help="Also deliver the distributions of each box, for `nanogfl explain`."
)
@click.option("--no-rewrite", is_flag=True, help="Leave out the rewrites for speed, for comparison.")
@click.option("--report", is_flag=True, help="Also write OUTPUT_report.md and .png: agreement, nodes, latency.")
def export(
    checkpoint: Path,
    output: Path | None,
    output_format: str,
    images: Path | None,
    image_count: int,
    dynamic_batch: bool,
    distributions: bool,
    no_rewrite: bool,
    report: bool,
) -> None:
    """Write CHECKPOINT (a .pt of `nanogfl train`) as one .onnx: resized uint8 picture in, detections out.

    The written file is compared with PyTorch on real images, detection by detection. It is kept only if both agree
    (boxes and spread within 0.05 px, scores within 1e-4); its metadata holds the measured differences.

    \b
    nanogfl export runs/bccd/best.pt
    nanogfl export runs/bccd/best.pt --format raw -o bccd_raw.onnx --images some/photos
    """
    from typing import cast

    from nanogfl.api.exporting import export as run_export
    from nanogfl.contract.card import ExportFormat

    exported = run_export(
        checkpoint,
        output,
        output_format=cast(ExportFormat, output_format),
        images=images,
        image_count=image_count,
        dynamic_batch=dynamic_batch,
        distributions=distributions,
        rewrite=not no_rewrite,
        report=report,
        verbose=True,
    )
    say(f"next: nanogfl detect {exported.path} IMAGE_OR_FOLDER_OR_VIDEO")
