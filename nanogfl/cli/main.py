"""The command `nanogfl`. Each command has a file here and imports what it needs when it runs, so --help is quick."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from nanogfl import __version__
from nanogfl.cli.ablate import ablate
from nanogfl.cli.bench import bench
from nanogfl.cli.data import data
from nanogfl.cli.detect import detect
from nanogfl.cli.evaluate import evaluate
from nanogfl.cli.explain import explain
from nanogfl.cli.export import export
from nanogfl.cli.extras import opencv_problem
from nanogfl.cli.import_nanodet import import_nanodet
from nanogfl.cli.info import info
from nanogfl.cli.label import label
from nanogfl.cli.recipes import models
from nanogfl.cli.say import error_line, say
from nanogfl.cli.streams import is_output_lost, protect_streams
from nanogfl.cli.train import train
from nanogfl.cli.weights import weights
from nanogfl.errors import STOP_SIGNALS, Interrupted, UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="nanogfl")
def nanogfl() -> None:
    """Train a small object detector on your images, export it to one verified .onnx, run it anywhere.

    \b
    nanogfl train photos --minutes 15         a folder of annotated images -> RUN/best.onnx and page.md
    nanogfl train my.yaml                     a recipe -> RUN/best.pt, curves and pictures
    nanogfl ablate configs/ablations/FILE     a recipe's variants, over seeds, beside a paper's table
    nanogfl eval RUN/best.pt                  AP by pycocotools, a table per class
    nanogfl export RUN/best.pt                one .onnx, written only if it agrees with PyTorch
    nanogfl detect RUN/best.onnx photo.jpg    or a folder, a video, a camera number
    nanogfl explain RUN/best.pt photo.jpg     the distributions behind each box, as a picture
    nanogfl weights                           published detectors, to start from by name
    nanogfl label photos --model RUN/best.onnx -o DIR   labels to correct, least certain first
    nanogfl bench RUN/best.onnx               what it costs on this machine's CPU
    """


def main() -> None:
    """Runs a command. A UserError becomes one line on stderr and exit code 2; other errors show a traceback.

    A command that a signal ends has exit code 128 + the signal's number.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # our error says what failed
    protect_streams()
    try:
        with _ending_in_order():
            nanogfl.main(standalone_mode=False)
    except (UserError, click.ClickException) as error:
        click.echo(error_line(error), err=True)
        sys.exit(2)
    except ImportError:
        if (problem := opencv_problem()) is None:
            raise
        click.echo(error_line(problem), err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt) as stopped:
        reason = stopped.__cause__ or stopped  # click makes an Abort of every KeyboardInterrupt
        ordered = reason if isinstance(reason, Interrupted) else Interrupted("stopped", signal.SIGINT)
        say(f"nanogfl: {ordered}", err=True)
        sys.exit(ordered.exit_code)
    if is_output_lost():
        sys.exit(2)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Interrupted, so that half-written files are removed. Ignored signals (nohup) stay so."""
    handled = [each for each in STOP_SIGNALS if signal.getsignal(each) == signal.SIG_DFL]

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)  # a second one would end the cleaning up
        raise Interrupted("stopped", number)

    for each in handled:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)


for command in (
    *(train, ablate, evaluate, export, detect, explain, label, bench, info, data),
    *(import_nanodet, models, weights),
):
    nanogfl.add_command(command)

if __name__ == "__main__":
    main()
