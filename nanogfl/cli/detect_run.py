"""Runs a detector over a source's frames and hands the results to a saver, a listing and a window."""

import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from nanogfl.cli.ending import Ending
from nanogfl.cli.say import say
from nanogfl.draw.boxes import draw_detections
from nanogfl.errors import Interrupted, UserError
from nanogfl.io.printable import shortened
from nanogfl.machine.timing import RunningMedian
from nanogfl_deploy.sinks.pictures import DetectionsFile, Saver, VideoFile
from nanogfl_deploy.sinks.window import Window, status_line
from nanogfl_deploy.sources.capture import Frame, Source
from nanogfl_deploy.sources.open import Pictures
from nanogfl_deploy.sources.video import Video

if TYPE_CHECKING:
    from nanogfl.api.model import Model

_LONGEST_NAME = 60


class Run:
    """One run over all frames, with a summary at the end.

    Results get their names when the source ends or the window is closed. A camera's get them however the run ends,
    since it cannot be repeated; unfinished results of another source are dropped.
    """

    def __init__(
        self,
        detector: "Model",
        frames: Source,
        threshold: float,
        spread: bool,
        saver: Saver | None,
        listing: DetectionsFile | None,
        window: Window | None,
    ) -> None:
        self._detector, self._frames, self._threshold, self._spread = detector, frames, threshold, spread
        self._saver, self._listing, self._window = saver, listing, window
        self._milliseconds = RunningMedian()
        self._found: Counter[int] = Counter()
        self._recent: deque[float] = deque(maxlen=30)  # times of the last frames, for the shown rate
        self._saved: list[str] = []
        self._problems: list[str] = []

    def to_the_end(self, ending: Ending) -> None:
        """Runs until the source, the user or a signal (`ending`) ends it. Raises UserError and Interrupted."""
        frames = self._frames
        ending.at_the_first = frames.stop
        ending.at_the_worst = lambda: self._close_files(frames.live)
        try:
            for name, frame in frames:
                if not self._detect(name, frame):
                    break
        except UserError as error:
            if not frames.live:
                self._close(False)
                raise
            self._problems.append(str(error))
        except BaseException:
            self._close(frames.live)
            say("; ".join(self._saved), err=True)
            raise
        stopped = ending.came is not None and not frames.live
        self._close(not stopped)
        if ending.came is not None and stopped:
            files = ", ".join(str(result.path) for result in (self._saver, self._listing) if result is not None)
            done = f"stopped after {self._count()}"
            raise Interrupted(f"{done}{f'; {files} not completed' if files else ''}", ending.came)
        self._summary()
        if self._problems:
            raise UserError("; ".join(self._problems))

    def _detect(self, name: str, frame: Frame) -> bool:
        """Detects in one frame and hands on the results. Returns False if the user ended the run."""
        start = time.perf_counter()
        detections = self._detector.detect(frame)
        milliseconds = (time.perf_counter() - start) * 1e3
        self._milliseconds.add(milliseconds)
        shown = detections.above(self._threshold)
        self._found.update(shown.labels.tolist())
        frames = self._frames
        if self._listing is not None:
            self._listing.add(name, (frame.shape[0], frame.shape[1]), shown, frames.seconds)
        if self._saver is None and self._window is None:
            return True
        picture = draw_detections(frame, shown, self._detector.class_names, show_spread=self._spread)
        if self._saver is not None:
            self._saver.add(name, picture, frames.seconds if frames.live else None)
        if self._window is None:
            return True
        self._recent.append(start)
        recent = self._recent
        rate = (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0
        status = status_line(rate, milliseconds, frames.dropped)
        return self._window.show(picture, status, wait=isinstance(frames, Pictures))

    def _close(self, keep: bool) -> None:
        self._close_files(keep)
        if self._window is not None:
            self._window.close()

    def _close_files(self, keep: bool) -> None:
        for result in (self._saver, self._listing):
            if result is not None:
                try:
                    result.close(keep)
                except UserError as error:  # the other one is closed as well
                    self._problems.append(str(error))
                else:
                    self._saved += [f"saved {result.path}"] if keep else []

    def _summary(self) -> None:
        frames = self._frames
        for reason in frames.skipped:
            say(f"skipped: {reason}", err=True)
        for count, first in frames.noted.values():
            say(f"note: {first}{f' ({count} such images)' if count > 1 else ''}", err=True)
        if isinstance(frames, Video) and isinstance(self._saver, VideoFile):
            if frames.frame_rate is None:
                claimed = f"claims {frames.claimed_rate:g} frames a second"
                say(f"note: {frames.path} {claimed}, saved with {self._saver.frame_rate:g}", err=True)
            elif frames.uneven:
                even = f"the saved video shows one every {1 / self._saver.frame_rate:.3g} s"
                say(
                    f"note: frames of {frames.path} come at uneven times, {even}; --json has the time of each", err=True
                )
        names = self._detector.class_names
        counts = [f"{shortened(names[label], _LONGEST_NAME)} {count}" for label, count in sorted(self._found.items())]
        summary = [self._count(), ", ".join(counts) or "no detections"]
        if self._milliseconds.count:
            summary.append(f"median {self._milliseconds.value():.1f} ms")
        if frames.live:
            summary.append(f"dropped {frames.dropped}")
        say("; ".join(summary + self._saved))
        self._problems += [frames.problem] if frames.problem else []

    def _count(self) -> str:
        count = self._milliseconds.count
        return f"{count} frame{'s' * (count != 1)}"
