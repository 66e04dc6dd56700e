"""`nanogfl export`."""

from pathlib import Path

import click

from nanogfl.cli.say import say

GATE_IMAGES = 32


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

    from nanogfl.cli.extras import require

    require("export", "torch", "onnx", "onnxscript", "onnxsim", "pydantic", "yaml")
    from nanogfl.cli.gate_images import gate_frames
    from nanogfl.contract.card import ExportFormat
    from nanogfl.errors import UserError
    from nanogfl_deploy.runtime import Detector
    from nanogfl_export.export import export_checkpoint

    target = output or checkpoint.with_suffix(".onnx")
    if target.suffix != ".onnx":
        raise UserError(f"--output must end in .onnx, got {target}")
    origin, frames = gate_frames(checkpoint, images, image_count)
    say(f"tracing {checkpoint}, then comparing with PyTorch on {origin}")
    exported = export_checkpoint(
        checkpoint,
        target,
        output_format=cast(ExportFormat, output_format),
        batch=None if dynamic_batch else 1,
        rewrite=not no_rewrite,
        distributions=distributions,
        frames=frames,
        frames_origin=origin,
        open_device=Detector,
    )
    say(f"agrees with PyTorch: {exported.parity}")
    for line in exported.parity.tie_rows:
        say(f"  decided by a tie: {line}")
    size = target.stat().st_size / 1e6
    say(f"wrote {target}: {size:.2f} MB, {len(exported.model.graph.node)} nodes, format {output_format}")
    if report:
        from nanogfl.model.predictor import load_predictor
        from nanogfl_deploy.bench.machine import cpu_name
        from nanogfl_export.report import write_report

        written = write_report(
            exported,
            load_predictor(checkpoint),
            gate_frames(checkpoint, images, image_count)[1],  # read again instead of held in memory
            open_device=lambda path: Detector(path, threads=1),
            machine=f"{cpu_name()}, 1 thread",
        )
        say(f"wrote {written.page} and {written.picture.name}")
    say(f"next: nanogfl detect {target} IMAGE_OR_FOLDER_OR_VIDEO")
