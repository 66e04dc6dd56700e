"""`export`: a checkpoint becomes one verified .onnx."""

from pathlib import Path
from typing import TYPE_CHECKING

from nanogfl.api.tell import teller
from nanogfl.errors import UserError, require

if TYPE_CHECKING:
    from nanogfl.contract.card import ExportFormat
    from nanogfl_export.export import Exported

GATE_IMAGES = 32
NEEDED = ("torch", "onnx", "onnxscript", "onnxsim", "pydantic", "yaml")
"""packages of the extra 'export'"""


def export(
    checkpoint: Path | str,
    output: Path | str | None = None,
    *,
    output_format: "ExportFormat" = "detections",
    images: Path | str | None = None,
    image_count: int = GATE_IMAGES,
    dynamic_batch: bool = False,
    distributions: bool = False,
    rewrite: bool = True,
    report: bool = False,
    verbose: bool = False,
) -> "Exported":
    """Writes a checkpoint as one .onnx: resized uint8 picture in, detections out.

        exported = export("runs/bccd/best.pt")
        print(exported.path, exported.parity)

    The file is reopened and compared with PyTorch on real images, detection by detection. It stays on disk only where
    both agree: boxes and spread within 0.05 px, scores within 1e-4.

    Args:
        checkpoint: a .pt of `train`.
        output: a path that ends in .onnx; by default the checkpoint's with that suffix.
        output_format: "detections", the best 100; "raw", every point, for runtimes without TopK or NonMaxSuppression.
        images: compare on the images of this folder, or on drawn pictures ("embedded"); by default on the validation
            set that the checkpoint names.
        image_count: compare on this many of them.
        dynamic_batch: any number of pictures per call instead of one.
        distributions: also deliver the distributions behind each box.
        rewrite: rewrite the traced graph for speed, exactly.
        report: also write OUTPUT_report.md and OUTPUT_report.png: the agreement, the nodes, the latency.
        verbose: print what happens.

    Returns the export: `path`, `parity` (the measured agreement), `card` (the metadata), `model` (the ONNX graph).

    Raises UserError, also where the file does not agree with PyTorch; there is then no file.
    """
    require("export", *NEEDED)
    from nanogfl.api.gate_images import gate_frames
    from nanogfl_deploy.runtime import Detector
    from nanogfl_export.export import export_checkpoint

    tell = teller(verbose)
    checkpoint = Path(checkpoint)
    target = checkpoint.with_suffix(".onnx") if output is None else Path(output)
    folder = None if images is None else Path(images)
    if target.suffix != ".onnx":
        raise UserError(f"--output must end in .onnx, got {target}")
    origin, frames = gate_frames(checkpoint, folder, image_count)
    tell(f"tracing {checkpoint}, then comparing with PyTorch on {origin}")
    exported = export_checkpoint(
        checkpoint,
        target,
        output_format=output_format,
        batch=None if dynamic_batch else 1,
        rewrite=rewrite,
        distributions=distributions,
        frames=frames,
        frames_origin=origin,
        open_device=Detector,
    )
    tell(f"agrees with PyTorch: {exported.parity}")
    for line in exported.parity.tie_rows:
        tell(f"  decided by a tie: {line}")
    size = target.stat().st_size / 1e6
    tell(f"wrote {target}: {size:.2f} MB, {len(exported.model.graph.node)} nodes, format {output_format}")
    if report:
        from nanogfl.model.predictor import load_predictor
        from nanogfl_deploy.bench.machine import cpu_name
        from nanogfl_export.report import write_report

        written = write_report(
            exported,
            load_predictor(checkpoint),
            gate_frames(checkpoint, folder, image_count)[1],  # read again instead of held in memory
            open_device=lambda path: Detector(path, threads=1),
            machine=f"{cpu_name()}, 1 thread",
        )
        tell(f"wrote {written.page} and {written.picture.name}")
    return exported
