"""`nanogfl bench`: what a model costs on this machine."""

import json
import re
from pathlib import Path

import click

from nanogfl.cli.ending import stoppable
from nanogfl.cli.say import say, say_lines
from nanogfl.errors import UserError, require

_MOST_THREADS = 256
_LARGEST_SIDE = 16384


def _thread_counts(context: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,4})(?:(?:-|\.\.)(\d{1,4}))?\s*", part, re.ASCII)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= _MOST_THREADS:
            wanted = f"expected numbers from 1 to {_MOST_THREADS} such as 1,2 or 1-4"
            raise click.BadParameter(f"{wanted}, got {text!r}", context, parameter)
        counts += range(first, last + 1)
    return list(dict.fromkeys(counts))


def _frame_hw(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text, re.ASCII)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (1 <= width <= _LARGEST_SIDE and 1 <= height <= _LARGEST_SIDE):
        wanted = f"expected a width and a height up to {_LARGEST_SIDE} such as 1280x720"
        raise click.BadParameter(f"{wanted}, got {text!r}", context, parameter)
    return height, width


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--threads", default="1", show_default=True, callback=_thread_counts, help="One or more, such as 1,2 or 1-4."
)
@click.option("--image", type=click.Path(path_type=Path), help="The frame to time: an image file.")
@click.option("--frame", "frame_hw", callback=_frame_hw, help="Or a textured frame of WxH.  [default: 1280x720]")
@click.option("--rounds", type=click.IntRange(min=1), default=100, show_default=True, help="Frames timed.")
@click.option("--cold", type=click.IntRange(min=0), default=5, show_default=True, help="Fresh processes per model.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the stages into this .png.")
@click.option("--card", is_flag=True, help="Write the figures into the card of each MODEL.")
@stoppable()
def bench(
    models: tuple[Path, ...],
    threads: list[int],
    image: Path | None,
    frame_hw: tuple[int, int] | None,
    rounds: int,
    cold: int,
    plot: Path | None,
    card: bool,
) -> None:
    """Time each .onnx MODEL on the CPU: pre (resize), model (network), post (selection, boxes to frame pixels), total.

    Several models and thread counts are measured in turns, and compared with the first MODEL round by round. Cold start
    and peak memory come from fresh processes. The last line is JSON.

    \b
    nanogfl bench best.onnx --threads 1-4 --plot cost.png
    nanogfl bench before.onnx after.onnx --image photo.jpg
    nanogfl bench best.onnx --card && nanogfl info best.onnx
    """
    _check(models, image, frame_hw, plot)
    if card:
        require("export", "onnx")
    from nanogfl.io.images import read_frame
    from nanogfl.machine.threads import limit_opencv_threads
    from nanogfl_deploy.bench.cold_start import cold_start
    from nanogfl_deploy.bench.cost import measure_costs, textured_frame
    from nanogfl_deploy.bench.machine import OtherLoad, machine
    from nanogfl_deploy.bench.table import Report, as_json, table
    from nanogfl_deploy.runtime import Detector

    limit_opencv_threads()
    frame = textured_frame(*(frame_hw or (720, 1280))) if image is None else read_frame(image)
    for model in models:
        Detector(model, threads=1)  # a file that is no model is refused before anything is measured
    cold_starts = {}
    for model in dict.fromkeys(models) if cold else ():
        say(f"cold start: {cold + 1} processes with {model}", err=True)
        cold_starts[str(model)] = cold_start(model, threads[0], cold)
    what = f"{len(models)} model{'s' * (len(models) > 1)} with {', '.join(map(str, threads))} threads"
    say(f"latency: {what}, {rounds} rounds", err=True)
    others = OtherLoad()
    costs = measure_costs(list(dict.fromkeys(models)), threads, frame, rounds)
    other_cores = others.cores()
    name = "textured, generated" if image is None else str(image)
    report = Report(machine(), (frame.shape[0], frame.shape[1]), name, costs, cold_starts, other_cores)
    say_lines(table(report))
    if plot is not None:
        from nanogfl_deploy.bench.plot import write_plot

        write_plot(report, plot)
        say(f"plot: {plot}")
    if card:
        from datetime import UTC, datetime

        from nanogfl_deploy.bench.card import card_figures
        from nanogfl_export.onnx_file import update_card

        for path in dict.fromkeys(models):
            update_card(path, bench=card_figures(report, str(path), datetime.now(UTC).date()))
            say(f"card: {path}")
    say(json.dumps(as_json(report)))


def _check(models: tuple[Path, ...], image: Path | None, frame_hw: tuple[int, int] | None, plot: Path | None) -> None:
    for model in models:
        if model.suffix.lower() != ".onnx":
            raise UserError(f"bench times .onnx files, got {model}: write one with `nanogfl export`")
    if image is not None and frame_hw is not None:
        raise UserError("bench times one frame, got --image and --frame: leave one of them out")
    if plot is not None and plot.suffix.lower() != ".png":
        raise UserError(f"--plot writes a .png, got {plot}: give it a name that ends in .png")
