"""`nanogfl eval`."""

from pathlib import Path

import click

from nanogfl.cli.ending import stoppable
from nanogfl.cli.say import say, say_lines

_MOST_LISTED = 50


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
    nanogfl eval runs/lvis/best.pt --by-frequency
    """
    from nanogfl.cli.extras import require

    require("eval", "pycocotools", "pydantic", "yaml")
    import json

    from nanogfl.cli.models import open_model, require_there
    from nanogfl.data.cache.frames import without_unreadable
    from nanogfl.data.class_counts import count_in_file
    from nanogfl.data.readers.read import is_coco, load_split
    from nanogfl.errors import UserError
    from nanogfl.evaluate.coco_ap import NO_OBJECTS, format_report
    from nanogfl.evaluate.coco_ap import evaluate as run_evaluation
    from nanogfl.evaluate.frequency import by_frequency as group_by_frequency
    from nanogfl.evaluate.frequency import format_frequency, require_limits
    from nanogfl.evaluate.lvis_ap import MOST_DETECTIONS
    from nanogfl.io.atomic import atomic_path

    require_limits(frequency_limits)
    if train_images is not None and train_data is None:
        raise UserError("--train-images is the image folder of --train-data FILE, which is missing: give both")
    opened = open_model(model, device=device, threads=threads)
    if data is None:
        if opened.validation is None:
            raise UserError(f"{model} does not say where its validation set lies: give --data FILE --images FOLDER")
        data, default_images = opened.validation
        require_there(data, "--data FILE --images FOLDER")
        if images is None:
            images = default_images
            require_there(images, "--images FOLDER")
    trained_on = None
    if by_frequency or train_data:  # before the images: a wrong file ends the run at once
        if train_data is None:
            if opened.training is None:
                raise UserError(f"{model} does not say where its training set lies: give --train-data FILE")
            train_data, default_images = opened.training
            train_images = train_images or default_images
        trained_on = count_in_file(train_data, opened.class_names, opened.category_ids, train_images)
        for problem in trained_on.notes:
            say(f"{train_data}: {problem.where}: {problem.reason}")
    if images is None:
        if not is_coco(data):
            raise UserError(f"--data {data} needs its image folder: give --images FOLDER")
        images = data.with_suffix("")
    dataset = load_split(data, images, strict=strict, class_ids=opened.category_ids, class_names=opened.class_names)
    dataset = without_unreadable(dataset, strict=strict)
    say(f"{data}: {dataset.summary()}")
    for problem in dataset.problems[:_MOST_LISTED]:
        say(f"  left out or mended: {problem.where}: {problem.reason}")
    if len(dataset.problems) > _MOST_LISTED:
        say(f"  these are {_MOST_LISTED} of {len(dataset.problems)}, in all: {dataset.problem_summary()}")
    detector = opened.detect
    if dataset.federated is not None and opened.keep < MOST_DETECTIONS:
        if opened.keeping is None:
            say(
                f"{model} delivers at most {opened.keep} detections per image, LVIS counts {MOST_DETECTIONS}:"
                f" its AP is of those {opened.keep}"
            )
        else:
            detector = opened.keeping(MOST_DETECTIONS)
    with click.progressbar(length=len(dataset.images), label="evaluating") as bar:

        def detect(frame):  # type: ignore[no-untyped-def]
            found = detector(frame)
            bar.update(1)
            return found

        report = run_evaluation(detect, dataset)
    say_lines(format_report(report))
    if report.ap is None:
        say(f"no AP: {NO_OBJECTS}")
    figures = report.to_dict()
    if trained_on is not None:
        frequency = group_by_frequency(report, trained_on.counts.tolist(), frequency_limits)
        say_lines(format_frequency(frequency))
        figures["frequency"] = frequency.to_dict()
    say(f"{report.images} images in {report.seconds:.1f} s, reading them included")
    if json_file:
        with atomic_path(json_file) as temporary:
            temporary.write_text(json.dumps(figures, indent=1), encoding="utf-8")
