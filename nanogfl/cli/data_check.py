"""`nanogfl data check`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nanogfl.cli.say import say
from nanogfl.io.printable import printable

if TYPE_CHECKING:
    from nanogfl.data.lint.finding import Finding
    from nanogfl.data.lint.report import CheckReport
    from nanogfl.loss.reach import ReachReport

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan", None: None}


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the config; repeatable."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for check.md, check.json and pictures. [default: runs/data-check/CONFIG-NAME]",
)
@click.option("--quick", is_flag=True, help="Check the annotations only; open no image.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
def check(config: Path, overrides: tuple[str, ...], output: Path | None, quick: bool, strict: bool) -> None:
    """Find what is wrong with the data set of the recipe CONFIG, before a training spends hours on it.

    Classes: without boxes, different in train and val, in a long tail. Boxes: empty, outside their image, drawn twice
    or with two classes, too small or too large for the recipe's network. Images: without objects, missing, broken,
    read in part (16 bits of which few are used, transparency, pages), of another size than annotated, turned by EXIF,
    copied, in train and in val (to the pixel, nearly, as versions of one photograph, as frames of one scene). Every
    image is decoded once.

    A warning is what can change AP by about .01 or more; what cannot is in one line of notes, and in check.md. At the
    end: what a training should use, each with the figure that it rests on, to be given with --set.

    The exit code is 0 where no error was found, 1 where one was (with --strict also for a warning), and 2 where the
    data set could not be checked.

    \b
    nanogfl data check configs/bccd.yaml --set data.root=datasets/bccd
    nanogfl data check my.yaml --quick
    nanogfl data check my.yaml --strict -o check      for a script: check/check.json
    """
    from nanogfl.errors import require

    require("train", "torch", "rich", "pydantic", "yaml")
    from nanogfl.data.advice.advise import start_of
    from nanogfl.data.lint.files import check_listed
    from nanogfl.data.lint.finding import Split, by_severity
    from nanogfl.data.lint.leaks import check_leaks
    from nanogfl.data.lint.report import CheckReport, format_table
    from nanogfl.data.lint.run import check_annotations, check_images
    from nanogfl.data.readers.read import load_split
    from nanogfl.errors import UserError
    from nanogfl.model.detector import build_detector
    from nanogfl.recipe import load_config, recipe_name
    from nanogfl.training.advice import advise_training, reach_on
    from nanogfl.training.reports.progress import show_reading

    folder = output or Path("runs") / "data-check" / recipe_name(config)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: --output names a folder, which is made where it is not there")
    loaded = load_config(config, overrides)
    root = Path(loaded.data.root)
    train, val = (
        Split(name, load_split(root / part.annotations, root / part.images))
        for name, part in (("train", loaded.data.train), ("val", loaded.data.val))
    )
    measure = reach_on(train.dataset, loaded)
    reach = measure(loaded.model)
    finest_stride = float(build_detector(loaded.model, len(train.dataset.classes)).grid.strides.min())
    findings = check_annotations(train, val, loaded, finest_stride=finest_stride)
    findings += [] if start_of(loaded) == "detector" else _reach_findings(reach)  # its weights have their own reg_max
    if quick:
        findings += [*check_listed(train, val), *check_leaks(train, val)]
    else:
        findings += check_images(train, val, show_reading)
    advice = advise_training(train.dataset, val.dataset, loaded, reach=measure)
    ordered = tuple(by_severity(findings))
    report = CheckReport(str(config), loaded, train, val, ordered, _reach_line(reach), not quick, advice)
    _write(folder, report)
    for severity, line in format_table(report):
        click.echo(click.style(printable(line), fg=_COLOURS[severity], bold=severity is not None))
    say(f"the report with pictures: {folder / 'check.md'}")
    if report.count("error") + strict * report.count("warning"):
        sys.exit(1)


def _reach_line(reach: "ReachReport | None") -> str:
    if reach is None:
        return "boxes of any size: the head has no distributions"
    longer = f"{reach.share:.1%} of the assigned box sides are longer, {reach.cost}"
    return f"reg_max {reach.reg_max} reaches {reach.ends} px: {longer}"


def _reach_findings(reach: "ReachReport | None") -> "list[Finding]":
    from nanogfl.data.lint.finding import Example, Finding

    if reach is None or not reach.matters:
        return []
    longer = sum(level.longer for level in reach.levels)
    what = f"box sides beyond the reach of reg_max {reach.reg_max}"
    text = f"{reach.share:.1%} of the sides of assigned points, {reach.cost}"
    return [Finding("warning", "reach", what, reach.advice, (Example("train", text),), longer)]


def _write(folder: Path, report: "CheckReport") -> None:
    """Writes check.json, check.md and finding-*.png; removes the pictures of an earlier check."""
    from nanogfl.data.lint.pictures import save_sheet
    from nanogfl.data.lint.report import write_json, write_markdown

    for old in folder.glob("finding-*.png"):
        old.unlink()
    pictures = {}
    if report.images_read:
        classes = {split.name: split.dataset.classes for split in (report.train, report.val)}
        for finding in report.findings:
            if save_sheet(folder / f"finding-{finding.key}.png", finding, classes):
                pictures[finding.key] = f"finding-{finding.key}.png"
    write_json(folder / "check.json", report)
    write_markdown(folder / "check.md", report, pictures)
