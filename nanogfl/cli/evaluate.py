"""`nanogfl eval`."""

from pathlib import Path

import click

from nanogfl.cli.ending import stoppable
from nanogfl.cli.say import say, say_lines


@click.command("eval", short_help="AP of a checkpoint or an .onnx, by pycocotools.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Annotations: COCO or LVIS json, VOC split list or YOLO data.yaml. [default: the checkpoint's validation set]",
)
@click.option(
    "--images", type=click.Path(path_type=Path), help="Its image folder. [default, for COCO: --data without .json]"
)
@click.option("--voc", is_flag=True, help="Also Pascal VOC's AP50: by area (2010) and by 11 points (2007).")
@click.option(
    "--by-frequency",
    is_flag=True,
    help="Also AP of classes that are rare, common and frequent in the checkpoint's training set.",
)
@click.option("--train-data", type=click.Path(path_type=Path), help="The same, counted in these annotations.")
@click.option("--train-images", type=click.Path(path_type=Path), help="Their image folder; COCO json needs none.")
@click.option(
    "--frequency-limits",
    nargs=2,
    type=click.IntRange(0),
    default=(10, 100),
    metavar="RARE COMMON",
    show_default="10 100, LVIS's",
    help="Most training images of a rare and of a common class.",
)
@click.option(
    "--strict", is_flag=True, help="A bad box or a missing image is an error instead of being left out and listed."
)
@click.option(
    "--device", default="cpu", show_default=True, help="auto, cpu, cuda, cuda:1 or mps; only for a checkpoint."
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads; only for an .onnx. [default: one per core, at most 16]"
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures to this file.")
@stoppable()
def evaluate(
    model: Path,
    data: Path | None,
    images: Path | None,
    voc: bool,
    by_frequency: bool,
    train_data: Path | None,
    train_images: Path | None,
    frequency_limits: tuple[int, int],
    strict: bool,
    device: str,
    threads: int | None,
    json_file: Path | None,
) -> None:
    """Average precision of MODEL, a checkpoint (.pt) or an .onnx; the latter needs no torch.

    Preprocessing, decoding and selection are those of the device.

    Classes are matched with the annotations by their exact names. A line reports ids that differ and classes that only
    the annotations have; a class that they lack is an error.

    APr, APc and APf are means over classes that are rare, common and frequent, by the number of training images that
    hold a class. An LVIS json is evaluated by LVIS's rules: federated, 300 detections per image, frequencies as it
    states them.

    \b
    nanogfl eval runs/bccd/best.pt
    nanogfl eval runs/bccd/best.onnx --data datasets/bccd/val.json --images datasets/bccd/val
    nanogfl eval runs/voc/best.pt --voc
    nanogfl eval runs/lvis/best.pt --by-frequency
    """
    from nanogfl.errors import require

    require("eval", "pycocotools", "pydantic", "yaml")
    import json

    from nanogfl.api.evaluation import evaluate as run_evaluation
    from nanogfl.evaluation.coco_ap import NO_OBJECTS, format_report
    from nanogfl.evaluation.frequency import format_frequency
    from nanogfl.io.atomic import atomic_path

    found = run_evaluation(
        model,
        data,
        images,
        voc=voc,
        by_frequency=by_frequency,
        train_data=train_data,
        train_images=train_images,
        frequency_limits=frequency_limits,
        strict=strict,
        device=device,
        threads=threads,
        verbose=True,
    )
    report = found.report
    say_lines(format_report(report))
    if report.ap is None:
        say(f"no AP: {NO_OBJECTS}")
    if found.frequency is not None:
        say_lines(format_frequency(found.frequency))
    say(f"{report.images} images in {report.seconds:.1f} s, reading them included")
    if json_file:
        with atomic_path(json_file) as temporary:
            temporary.write_text(json.dumps(found.to_dict(), indent=1), encoding="utf-8")
