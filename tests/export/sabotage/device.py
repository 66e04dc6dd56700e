"""Wrong device code: what it delivers."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections, Selection, select
from nanogfl_deploy.runtime import Detector
from tests.export.sabotage.attempt import of_device
from tests.export.sabotage.devices import DEFAULT, SELECTS, Frame, Wrong, changed, found, patched, with_attributes
from tests.export.sabotage.subject import SELECTION


def draws_on_the_frame(detections: Detections, frame: Frame) -> Detections:
    for x1, y1, x2, y2 in detections.boxes.round().astype(int):
        cv2.rectangle(frame, (int(x1), int(y1)), (int(x2), int(y2)), (0, 0, 255), 1)
    return detections


def _with_spread(change: Callable[[NDArray[np.float32]], Any]) -> Callable[[Detections, Frame], Detections]:
    def spoil(detections: Detections, frame: Frame) -> Detections:
        assert detections.spread is not None
        return changed(detections, spread=change(detections.spread))

    return spoil


def _with_boxes(change: Callable[[NDArray[np.float32]], Any]) -> Callable[[Detections, Frame], Detections]:
    return lambda detections, frame: changed(detections, boxes=change(detections.boxes).astype(np.float32))


def with_an_unused_row(detections: Detections, frame: Frame) -> Detections:
    """Label -1, and nothing else."""
    boxes = np.concatenate((detections.boxes, np.zeros((1, 4), np.float32)))
    spread = None if detections.spread is None else np.concatenate((detections.spread, np.zeros((1, 4), np.float32)))
    scores = np.append(detections.scores, np.float32(0))
    return Detections(boxes, scores, np.append(detections.labels, -1), spread)


def wrong_sides(change: Callable[[Any], Any]) -> Callable[[Detections, Frame], Detections]:
    return lambda detections, frame: changed(detections, sides=change(detections.sides))


class FirstAnswerAgain(Detector):
    """Of the frames of one size."""

    def __call__(self, frame: Frame) -> Detections:
        answers = self.__dict__.setdefault("answers", {})
        if frame.shape not in answers:
            answers[frame.shape] = super().__call__(frame)
        answer: Detections = answers[frame.shape]
        return answer


class RightOnce(Detector):
    def __call__(self, frame: Frame) -> Detections:
        right = super().__call__(frame)
        self.calls = getattr(self, "calls", 0) + 1
        return right if self.calls == 1 else changed(right, boxes=right.boxes + np.float32(1))


class FailsOnNothing(Detector):
    def __call__(self, frame: Frame) -> Detections:
        right = super().__call__(frame)
        if not len(right):
            raise IndexError("index 0 is out of bounds for axis 0 with size 0")
        return right


def other_selection(**fields: Any) -> Wrong:
    """Of a raw file's points."""

    def selected(boxes: Any, scores: Any, spread: Any, selection: Selection, hw: Any, sides: Any = None) -> Detections:
        return select(boxes, scores, spread, replace(selection, **fields), hw, sides)

    return patched("select", selected)


def one_class_a_point(
    boxes: Any, scores: Any, spread: Any, selection: Selection, hw: Any, sides: Any = None
) -> Detections:
    best = np.where(scores == scores.max(axis=1, keepdims=True), scores, 0)
    return select(boxes, best, spread, selection, hw, sides)


def _off_by_one(detector: Detector) -> None:
    detector.class_names = (*detector.class_names[1:], detector.class_names[0])


def _other_card(detector: Detector) -> None:
    detector.card = replace(detector.card, classes=detector.card.classes[::-1])


TABLE = [
    *of_device(
        DEFAULT,
        {
            "device: labels + 1": found(lambda d, frame: changed(d, labels=(d.labels + 1) % 3)),
            "device: class names off by one": with_attributes(_off_by_one),
            "device: the last detection missing": found(lambda d, frame: d.take(np.arange(max(0, len(d) - 1)))),
            "device: the best detection missing": found(lambda d, frame: d.take(np.arange(1, len(d)))),
            "device: worst first": found(lambda d, frame: d.take(np.arange(len(d))[::-1].copy())),
            "device: only above .3": found(lambda d, frame: d.above(0.3)),
            "device: at most five": found(lambda d, frame: d.take(np.arange(min(5, len(d))))),
            "device: scores with two digits": found(lambda d, frame: changed(d, scores=d.scores.round(2))),
            "device: scores x .999": found(lambda d, frame: changed(d, scores=d.scores * np.float32(0.999))),
            "device: boxes in whole pixels": found(_with_boxes(np.round)),
            "device: boxes + .2 px": found(_with_boxes(lambda boxes: boxes + np.float32(0.2))),
            "device: boxes are x y w h": found(
                _with_boxes(lambda boxes: np.hstack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2])))
            ),
            "device: the first box NaN": found(
                _with_boxes(lambda boxes: np.where(np.arange(len(boxes))[:, None] == 0, np.nan, boxes))
            ),
            "device: no spread": found(lambda d, frame: changed(d, spread=None)),
            "device: spread doubled": found(_with_spread(lambda spread: spread * np.float32(2))),
            "device: spread zero": found(_with_spread(lambda spread: spread * np.float32(0))),
            "device: spread NaN": found(_with_spread(lambda spread: spread * np.float32(np.nan))),
            "device: spread's left and right swapped": found(_with_spread(lambda spread: spread[:, [2, 1, 0, 3]])),
            "device: spread of the neighbouring rows": found(_with_spread(lambda spread: np.roll(spread, 1, axis=0))),
            "device: a frame's answer for the next of its size": lambda: nullcontext(FirstAnswerAgain),
            "device: right in the first call only": lambda: nullcontext(RightOnce),
            "device: fails when nothing is found": lambda: nullcontext(FailsOnNothing),
            "device: draws on the caller's frame": found(draws_on_the_frame),
        },
    ),
    *of_device(("detections",), {"device: another card": with_attributes(_other_card)}),
    *of_device(("detections", "dynamic", "plain"), {"device: unused rows kept": found(with_an_unused_row)}),
    *of_device(
        ("distributions",),
        {
            "device: no distributions": found(wrong_sides(lambda sides: None)),
            "device: distributions reversed": found(
                wrong_sides(lambda sides: replace(sides, probabilities=sides.probabilities[..., ::-1]))
            ),
            "device: all steps positive": found(wrong_sides(lambda sides: replace(sides, step=np.abs(sides.step)))),
            "device: origins x y swapped": found(
                wrong_sides(lambda sides: replace(sides, origin=sides.origin[:, [1, 0, 3, 2]]))
            ),
        },
    ),
    *of_device(
        SELECTS,
        {
            "device: selects above .06": other_selection(score=0.06),
            "device: suppresses at .5": other_selection(iou=0.5),
            "device: half of the candidates": other_selection(candidates=SELECTION.candidates // 2),
            "device: one row fewer": other_selection(keep=SELECTION.keep - 1),
            "device: one class a point": patched("select", one_class_a_point),
        },
    ),
]
