"""How device code is spoiled: a Detector with another step in it."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections
from nanogfl.contract.input_spec import InputSpec, Placement
from nanogfl_deploy import runtime
from nanogfl_deploy.runtime import Detector
from tests.export.sabotage.attempt import OpenDevice

Frame = NDArray[np.uint8]
Wrong = Callable[[], AbstractContextManager[OpenDevice]]
DEFAULT, SELECTS = ("detections", "raw", "letterbox", "distributions"), ("raw",)


def found(change: Callable[[Detections, Frame], Detections]) -> Wrong:
    """The detections of a frame, changed."""

    class Changed(Detector):
        def __call__(self, frame: Frame) -> Detections:
            return change(super().__call__(frame), frame)

    return lambda: nullcontext(Changed)


def finished(change: Callable[[Detections, Placement], Detections]) -> Wrong:
    """Those in the network's pixels and where the frame lies in them -> those in the frame's, another way."""
    return patched("to_source", change)


def prepared(change: Callable[[Frame, InputSpec], tuple[Frame, Placement]]) -> Wrong:
    return patched("preprocess", change)


def patched(name: str, value: Any) -> Wrong:
    """Another definition in the device's own module."""

    @contextlib.contextmanager
    def context() -> Iterator[OpenDevice]:
        with mock.patch.object(runtime, name, value):
            yield Detector

    return context


def with_attributes(change: Callable[[Detector], None]) -> Wrong:
    class Changed(Detector):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            change(self)

    return lambda: nullcontext(Changed)


def changed(detections: Detections, **fields: Any) -> Detections:
    return replace(detections, **fields)
