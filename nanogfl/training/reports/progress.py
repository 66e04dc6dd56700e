"""Output of a training: a live bar in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, track
from rich.progress import Progress as Bar

from nanogfl.config import Config
from nanogfl.data.loader import Loader
from nanogfl.io.printable import printable
from nanogfl.loss.criterion import LOSS_PARTS
from nanogfl.loss.distill.criterion import DISTILL_PARTS


def _in_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()  # None: a program without a console


def show_reading(results: Iterable[str | None], count: int) -> Iterable[str | None]:
    """A bar while images are read for the first time. It vanishes when done; without a terminal there is none."""
    return track(results, "reading images", total=count, transient=True, disable=not _in_terminal())


class DownloadBar:
    """A bar of bytes, as pooch drives one: it sets `total` (0: unknown), then calls the methods. None without a
    terminal."""

    def __init__(self, name: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), DownloadColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, transient=True, disable=not _in_terminal())
        self._task = self._bar.add_task(f"downloading {name}", total=None)
        self.total = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, count: int) -> None:
        self._bar.update(self._task, advance=count, total=self.total or None)

    def reset(self) -> None:
        self._bar.reset(self._task)

    def close(self) -> None:
        """Done by `with`."""


class Progress:
    """Shows loss, learning rate, AP, time left, and the share of time spent waiting for data."""

    def __init__(self, config: Config, run_dir: Path, *, silent: bool = False) -> None:
        self.epochs = config.train.epochs
        """of the whole run"""
        self._console = Console(highlight=False, soft_wrap=True, quiet=silent)
        self._live = _in_terminal() and not silent
        columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
        self._bar = Bar(*columns, console=self._console, disable=not self._live, transient=True)
        self._task = self._bar.add_task("starting", total=1.0)
        self._done_seconds: list[float] = []
        self._ap = "AP -"
        self.say(f"run folder: {run_dir}")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        for part in line.split("\n"):
            self._console.print(printable(part), markup=False)

    def step(self, epoch: int, done: int, loader: Loader, means: dict[str, float], rate: float, started: float) -> None:
        """Call after `done` batches of an epoch that began at `started` (perf_counter)."""
        seconds = time.perf_counter() - started
        share = done / loader.steps
        left = self._left(self.epochs - epoch - share, seconds / share)
        self._bar.update(
            self._task,
            completed=(epoch + share) / self.epochs,
            description=(
                f"epoch {epoch + 1}/{self.epochs}  loss {means['loss']:.3f}  lr {rate:.1e}"
                f"  {done * loader.batch_size / seconds:.0f} images/s  waiting {loader.waited / seconds:.1%}"
                f"  {self._ap}  {left} left"
            ),
        )

    def epoch(self, entry: dict[str, Any], best_ap: float) -> None:
        """Call after a whole epoch and its evaluation, with the log's entry."""
        self._done_seconds.append(entry["seconds"] + entry.get("eval_seconds", 0.0))
        evaluated = entry.get("ap") is not None
        if evaluated:
            self._ap = f"AP {entry['ap']:.3f} (best {best_ap:.3f})"
        mean = sum(self._done_seconds) / len(self._done_seconds)
        if evaluated or not self._live:
            self.say(
                f"epoch {entry['epoch']}/{self.epochs}  loss {entry['loss']:.3f} ({_parts(entry)})"
                f"  lr {entry['lr']:.1e}"
                f"  {entry['images_per_second']:.1f} images/s  waiting {entry['waiting']:.1%}"
                f"  {self._ap if evaluated else 'AP -'}  {self._left(self.epochs - entry['epoch'], mean)} left"
            )

    @staticmethod
    def _left(epochs: float, seconds_each: float) -> str:
        minutes, seconds = divmod(round(epochs * seconds_each), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{seconds:02d}"


def _parts(entry: dict[str, Any]) -> str:
    """The parts that this run has. Side and quality are 0 where nothing learns them."""
    return " ".join(f"{name} {entry[name]:.3f}" for name in (*LOSS_PARTS, *DISTILL_PARTS) if entry.get(name))
