"""`nanogfl info`: the content of a model file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanogfl.cli.ending import stoppable
from nanogfl.cli.say import say
from nanogfl.errors import UserError, require
from nanogfl.io.read_file import is_file

if TYPE_CHECKING:
    from nanogfl_deploy.runtime import Detector


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@stoppable()
def info(file: Path) -> None:
    """Show the inputs, outputs and origin of FILE (.onnx or checkpoint).

    Classes, input size, layout, colour order, resize rule and normalisation, outputs with their shapes, parameters and
    MACs; for an .onnx also its selection, the agreement with PyTorch measured at export, its origin, and the latency
    that `nanogfl bench --card` measured.

    \b
    nanogfl info runs/bccd/best.onnx
    nanogfl info runs/bccd/best.pt
    """
    if not is_file(file):
        raise UserError(f"model {file} does not exist or is no file: check the path")
    if file.suffix.lower() == ".onnx":
        from nanogfl_deploy.runtime import Detector

        rows = describe_onnx(Detector(file, threads=1))
    else:
        require("train", "torch", "pydantic", "yaml")
        from nanogfl.model.checkpoint import describe_checkpoint

        rows = describe_checkpoint(file)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:<{width}}  {value}")


def describe_onnx(detector: "Detector") -> list[tuple[str, str]]:
    """(name, value) rows for people, all from the file."""
    from nanogfl_deploy.bench.card import bench_rows

    card = detector.card
    height, width = card.input.hw
    resize = {
        "stretch": "both sides scaled to the input (stretch)",
        "letterbox": f"one scale, padded right and below with {card.input.pad_value} (letterbox)",
    }[card.input.resize]
    select = card.selection
    where = "inside the file" if card.format == "detections" else "left to the client (nanogfl does it)"
    rows = [
        ("file", f"{detector.path}, {detector.path.stat().st_size / 2**20:.2f} MiB, contract version {card.contract}"),
        ("classes", f"{len(card.classes)}: {', '.join(card.classes)}"),
        ("input", f"image: {card.layout}, {card.colour}, H = {height}, W = {width}"),
        ("resize", f"{resize}, {card.interpolation}"),
        ("normalisation", f"inside the file: (pixel - {_numbers(card.input.mean)}) / {_numbers(card.input.std)}"),
        ("format", card.format),
    ]
    for name, shape in detector.output_shapes.items():
        rows.append((f"output {name}", f"({', '.join(str(size) for size in shape)}) {_meaning(name, card.format)}"))
    if card.bins:
        reach = f"bins 0 to {card.bins - 1}"
        rows.append(("distributions", f"of each side, {reach}: `nanogfl explain` draws them"))
    elif (box := str(card.source.get("box", "general+dfl"))).startswith("general"):
        rows.append(("distributions", "not delivered: `nanogfl export --distributions` adds them"))
    else:
        rows.append(("distributions", f"none: the boxes are {box}"))
    rows.append(
        (
            "selection",
            f"{where}: score > {select.score}, IoU > {select.iou} suppressed within a class,"
            f" {select.candidates} candidates, best {select.keep}",
        )
    )
    rows += [("parity " + key, _value(value)) for key, value in card.parity.items()] or [("parity", "not recorded")]
    rows += [("source " + key, _value(value)) for key, value in card.source.items()]
    return rows + bench_rows(card.bench)


def _meaning(name: str, export_format: str) -> str:
    return {
        "boxes": "x1 y1 x2 y2 in input pixels",
        "scores": "0 to 1" + (", best first; 0 where there is no detection" if export_format == "detections" else ""),
        "labels": "index of the class; -1 where there is no detection",
        "spread": "standard deviation of the left, top, right, bottom side in input pixels",
        "distributions": "probability of each bin, sides left, top, right, bottom",
        "points": "x y of bin 0 and the stride from bin to bin, in input pixels",
    }.get(name, "")


def _numbers(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
