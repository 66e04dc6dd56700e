"""Frames of a camera or a stream, which come in real time: only the newest one counts."""

import threading
import time
from collections.abc import Iterator

import cv2

from nanogfl.errors import UserError
from nanogfl_deploy.sources.capture import Capture, Frame, Source, believable_rate

_LOOK = 0.1
"""seconds between two checks whether the run has been stopped"""
_PAUSE = 0.01
"""seconds before a failed read is tried again"""


class Camera(Source):
    """A reader thread keeps only the newest frame, so that no old frame is shown; replaced ones are counted.

    A read may fail now and then (a glitch of cable or network): the source ends after `patience` seconds without a
    frame.
    """

    def __init__(
        self, name: str, capture: Capture, patience: float = 5.0, advice: str = "check its cable and power"
    ) -> None:
        """Waits for a first frame, `patience` seconds at most. Raises UserError where none comes."""
        super().__init__(name, None, believable_rate(capture.get(cv2.CAP_PROP_FPS)), live=True)
        self._capture = capture
        self._patience = patience
        self._advice = advice
        self._newest: Frame | None = None
        self._came = self._began = time.monotonic()
        """time of the newest frame; before the first, of the opening"""
        self._ended = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._read, name=f"reader of {name}", daemon=True)
        self._thread.start()
        with self._change:
            self._change.wait_for(lambda: self._newest is not None, patience)
            delivered = self._newest is not None
        if not delivered:
            self.close()
            waited = time.monotonic() - self._began
            raise UserError(
                f"no {name}: it opened but delivered no frame in {waited:.2g} s; is another program using it?"
            )

    def __iter__(self) -> Iterator[tuple[str, Frame]]:
        index = 0
        first: float | None = None
        while not self.stopped:
            with self._change:
                self._change.wait_for(lambda: self._newest is not None, _LOOK)
                frame, self._newest, came = self._newest, None, self._came
            if frame is not None:
                first = came if first is None else first
                self.seconds = came - first
                yield f"{self.name}#{index:06d}", frame
                index += 1
            elif (waited := time.monotonic() - came) > self._patience:
                self.problem = (
                    f"{self.name} stopped delivering frames after {index} (none in {waited:.2g} s): {self._advice}"
                )
                return

    def close(self) -> None:
        with self._change:
            self._ended = True
        self._thread.join(min(self._patience, 5.0))
        if not self._thread.is_alive():  # releasing a capture during its read() crashes some drivers
            self._capture.release()

    def _read(self) -> None:
        while True:
            good, frame = self._capture.read()
            with self._change:
                if self._ended:
                    return
                if good and frame is not None:
                    self.dropped += self._newest is not None
                    self._newest = frame
                    self._came = time.monotonic()
                    self._change.notify_all()
                    continue
            time.sleep(_PAUSE)
