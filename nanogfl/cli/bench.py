"""`nanogfl bench`: what a model costs on this machine."""

import json
from pathlib import Path

import click

from nanogfl.contract.errors import UserError


def _thread_counts(context: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    counts = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    if len(counts) != len(text.split(",")) or not all(counts):
        raise click.BadParameter(f"expected numbers from 1 such as 1,2, got {text!r}", context, parameter)
    return counts


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--threads", default="1", show_default=True, callback=_thread_counts, help="One or more, such as 1,2.")
@click.option("--image", type=click.Path(path_type=Path), help="The frame to time.  [default: a textured 1280x720]")
@click.option("--rounds", type=click.IntRange(min=1), default=100, show_default=True, help="Frames timed.")
def bench(models: tuple[Path, ...], threads: list[int], image: Path | None, rounds: int) -> None:
    """Time each .onnx MODEL on the CPU: resize, network, selection and all of it; p50, p95, min.

    Several models and thread counts are measured in turns. The last line is JSON.
    """
    from nanogfl.contract.frames import read_frame
    from nanogfl_deploy.bench import as_json, measure_costs, table, textured_frame

    for model in models:
        if model.suffix.lower() != ".onnx":
            raise UserError(f"bench times .onnx files, got {model}: write one with `nanogfl export`")
    frame = textured_frame() if image is None else read_frame(image)
    name = "textured, generated" if image is None else str(image)
    costs = measure_costs(models, threads, frame, rounds)
    frame_hw = (frame.shape[0], frame.shape[1])
    click.echo(table(costs, frame_hw, name))
    click.echo(json.dumps(as_json(costs, frame_hw, name)))
