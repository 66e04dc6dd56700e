"""`nanogfl detect`: a model on an image, a folder, a video, a camera or a stream."""

from pathlib import Path

import click

from nanogfl.cli.ending import stoppable
from nanogfl.cli.say import say
from nanogfl.cli.score import SCORE
from nanogfl.contract.shown_score import SHOWN_SCORE
from nanogfl.errors import UserError


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    help="A picture, a video (.mp4, .mkv, .avi, .mov, .m4v), or else a folder.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Detections as .json or .jsonl.")
@click.option("--threshold", type=SCORE, default=SHOWN_SCORE, show_default=True, help="Lowest score shown.")
@click.option("--spread", is_flag=True, help="Draw each side as soft as its standard deviation.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads of onnxruntime.  [default: one per core, at most 16]"
)
@click.option("--strict", is_flag=True, help="An unreadable image or frame ends the run instead of being skipped.")
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
    """Detect objects in SOURCE with MODEL (.onnx or checkpoint).

    SOURCE is an image, a folder, a video, a camera's number or device, or the URL of a stream (rtsp://, http://).

    Shows a window where there is a display (q or Esc ends). Without a window, --save or --json, results are saved below
    runs/detect. A camera or stream is recorded until Ctrl-C, SIGTERM or SIGHUP; the recording is then complete. After a
    kill or a power cut an .mkv can still be played up to the last seconds (look for .NAME.mkv.1.part.mkv), an .mp4
    cannot.
    """
    with stoppable() as ending:
        from nanogfl.api.model import load
        from nanogfl.cli.detect_run import Run
        from nanogfl_deploy.sinks.pictures import DetectionsFile, default_place, open_saver
        from nanogfl_deploy.sinks.window import Window, window_problem
        from nanogfl_deploy.sources.open import open_source

        detector = load(model, threads=threads)
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
            listing = None if json_file is None else DetectionsFile(json_file, detector.class_names)
            try:
                saver = None if save is None else open_saver(save, frames)
                window = None if problem else Window("nanogfl")
            except UserError:
                if listing is not None:
                    listing.close(False)
                raise
            Run(detector, frames, threshold, spread, saver, listing, window).to_the_end(ending)
