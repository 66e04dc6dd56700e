"""`nanogfl detect`: a model on an image, a folder, a video or a camera."""

import statistics
import time
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nanogfl.cli.say import say
from nanogfl.contract.errors import UserError

if TYPE_CHECKING:
    from nanogfl.cli.models import OpenedModel
    from nanogfl_deploy.show import DetectionsFile, Saver, Window
    from nanogfl_deploy.sources import Source


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@click.option("--save", type=click.Path(path_type=Path), help="A picture, an .mp4, or else a folder of pictures.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Detections as .json or .jsonl.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.4, show_default=True, help="Least score shown.")
@click.option("--spread", is_flag=True, help="Draw each side soft or sharp by its standard deviation.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of onnxruntime.  [default: one a core]")
@click.option("--strict", is_flag=True, help="An unreadable image ends the run instead of being skipped.")
@click.option("--no-window", is_flag=True, help="Open no window, even where there is a display.")
def detect(
    model: Path,
    source: str,
    save: Path | None,
    json_file: Path | None,
    threshold: float,
    spread: bool,
    threads: int | None,
    strict: bool,
    no_window: bool,
) -> None:
    """Detect with MODEL (.onnx or checkpoint) in SOURCE: an image, a folder, a video, or a camera's number.

    Shows a window where there is a display (q or Esc ends). Without a window, --save or --json it saves below
    runs/detect.
    """
    from nanogfl_deploy.show import DetectionsFile, Window, default_place, open_saver, window_problem
    from nanogfl_deploy.sources import open_source

    detector = load_detector(model, threads)
    if spread and not detector.has_spread:
        raise UserError(
            f"--spread needs the standard deviations of sides, {model} delivers none: leave --spread out, or take a"
            " model of model.head.box general+dfl or gaussian"
        )
    with open_source(source, strict) as frames:
        problem = "--no-window" if no_window else window_problem()
        if problem and save is None and json_file is None:
            save = default_place(frames)
            say(f"no window: {problem}; saving to {save}")
        saver = None if save is None else open_saver(save, frames)
        listing = None if json_file is None else DetectionsFile(json_file, detector.class_names)
        window = None if problem else Window("nanogfl")
        _detect_all(detector, frames, threshold, spread, saver, listing, window)


def load_detector(path: Path, threads: int | None) -> "OpenedModel":
    """An .onnx through onnxruntime, anything else as a checkpoint through torch."""
    from nanogfl.cli.models import open_model
    from nanogfl.contract.read_file import is_file

    if not is_file(path):
        raise UserError(f"model {path} does not exist or is no file: check the path")
    if threads is not None and path.suffix != ".onnx":
        raise UserError("--threads is for an .onnx: for a checkpoint set the environment's OMP_NUM_THREADS")
    return open_model(path, threads=threads)


def _detect_all(
    detector: "OpenedModel",
    frames: "Source",
    threshold: float,
    spread: bool,
    saver: "Saver | None",
    json_file: "DetectionsFile | None",
    window: "Window | None",
) -> None:
    """Every frame, then the summary. Results are renamed into place when the source or the user has ended the run."""
    from nanogfl.contract.draw import draw_detections
    from nanogfl_deploy.show import status_line

    milliseconds: list[float] = []
    found: Counter[int] = Counter()
    recent: deque[float] = deque(maxlen=30)  # when the last frames came: the rate shown follows within a second
    complete = False
    began = time.perf_counter()
    try:
        for name, frame in frames:
            start = time.perf_counter()
            detections = detector.detect(frame)
            milliseconds.append((time.perf_counter() - start) * 1e3)
            shown = detections.above(threshold)
            found.update(shown.labels.tolist())
            if json_file is not None:
                json_file.add(name, (frame.shape[0], frame.shape[1]), shown)
            if saver is None and window is None:
                continue
            picture = draw_detections(frame, shown, detector.class_names, show_spread=spread)
            if saver is not None:
                saver.add(name, picture, start - began if frames.live else None)
            if window is not None:
                recent.append(start)
                rate = (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0
                status = status_line(rate, milliseconds[-1], frames.dropped)
                if not window.show(picture, status, wait=frames.frame_rate is None and not frames.live):
                    break
        complete = True
    except KeyboardInterrupt:
        complete = frames.live  # Ctrl-C is how a camera without a window ends
        if not complete:
            raise
    finally:
        for result in (saver, json_file):
            if result is not None:
                result.close(complete)
        if window is not None:
            window.close()
    for reason in frames.skipped:
        say(f"skipped: {reason}", err=True)
    for count, first in frames.noted.values():
        say(f"note: {first}{f' ({count} such images)' if count > 1 else ''}", err=True)
    names = detector.class_names
    summary = [
        f"{len(milliseconds)} frame{'s' * (len(milliseconds) != 1)}",
        ", ".join(f"{names[label]} {count}" for label, count in sorted(found.items())) or "no detections",
    ]
    if milliseconds:
        summary.append(f"median {statistics.median(milliseconds):.1f} ms")
    if frames.live:
        summary.append(f"dropped {frames.dropped}")
    summary += [f"saved {result.path}" for result in (saver, json_file) if result is not None]
    say("; ".join(summary))
    if frames.problem:
        raise UserError(frames.problem)
