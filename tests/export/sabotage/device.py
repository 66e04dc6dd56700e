"""Wrong device code around a right file: a Detector that prepares, runs or finishes wrongly."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detections, Selection, select, to_source
from nanogfl.contract.preprocess import InputSpec, Placement, preprocess
from nanogfl_deploy import runtime
from nanogfl_deploy.runtime import Detector
from tests.export.sabotage.attempt import Corruption, OpenDevice
from tests.export.sabotage.subject import SELECTION

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


# --- the way in -------------------------------------------------------------------------------------------------------


def resized(frame: Frame, spec: InputSpec, interpolation: int) -> tuple[Frame, Placement]:
    _, placement = preprocess(frame, spec)
    height, width = spec.hw
    content = (round(frame.shape[1] * placement.scale_x), round(frame.shape[0] * placement.scale_y))
    image = np.full((height, width, 3), spec.pad_value, np.uint8)
    image[: content[1], : content[0]] = cv2.resize(frame, content, interpolation=interpolation)
    return image, placement


def area_resize(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    return resized(frame, spec, cv2.INTER_AREA)


def nearest_resize(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    return resized(frame, spec, cv2.INTER_NEAREST)


def cubic_resize(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    return resized(frame, spec, cv2.INTER_CUBIC)


def rgb(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    image, placement = preprocess(frame, spec)
    return np.ascontiguousarray(image[..., ::-1]), placement


def rgb_padding(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    """Only where there is any."""
    return preprocess(frame, replace(spec, mean=spec.mean[::-1]))


def black_padding(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    return preprocess(frame, replace(spec, mean=(0.0, 0.0, 0.0)))


def centred_padding(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    """The picture in the middle, read as though it were at the top left."""
    image, placement = preprocess(frame, spec)
    below = spec.hw[0] - round(frame.shape[0] * placement.scale_y)
    right = spec.hw[1] - round(frame.shape[1] * placement.scale_x)
    return np.roll(image, (below // 2, right // 2), axis=(0, 1)), placement


def stretched(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    return preprocess(frame, replace(spec, resize="stretch"))


def letterboxed(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    return preprocess(frame, replace(spec, resize="letterbox"))


def mirrored(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    image, placement = preprocess(frame, spec)
    return np.ascontiguousarray(image[:, ::-1]), placement


def turned_placement(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    image, placement = preprocess(frame, spec)
    return image, Placement(placement.source_hw, placement.scale_y, placement.scale_x)


def scale_a_little_off(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    image, placement = preprocess(frame, spec)
    return image, replace(placement, scale_x=placement.scale_x * 1.002)


def one_scale(frame: Frame, spec: InputSpec) -> tuple[Frame, Placement]:
    image, placement = preprocess(frame, spec)
    return image, replace(placement, scale_y=placement.scale_x)


def draws_on_the_frame(detections: Detections, frame: Frame) -> Detections:
    for x1, y1, x2, y2 in detections.boxes.round().astype(int):
        cv2.rectangle(frame, (int(x1), int(y1)), (int(x2), int(y2)), (0, 0, 255), 1)
    return detections


WAY_IN = [
    Corruption("device: RGB", "device", DEFAULT, device=prepared(rgb)),
    Corruption("device: area resize", "device", DEFAULT, device=prepared(area_resize)),
    Corruption("device: nearest resize", "device", DEFAULT, device=prepared(nearest_resize)),
    Corruption("device: cubic resize", "device", DEFAULT, device=prepared(cubic_resize)),
    Corruption("device: mirrored picture", "device", DEFAULT, device=prepared(mirrored)),
    Corruption("device: letterbox instead of stretch", "device", ("detections", "raw"), device=prepared(letterboxed)),
    Corruption("device: stretch instead of letterbox", "device", ("letterbox",), device=prepared(stretched)),
    Corruption("device: padding in RGB order", "device", ("letterbox",), device=prepared(rgb_padding)),
    Corruption("device: black padding", "device", ("letterbox",), device=prepared(black_padding)),
    Corruption("device: padding on both sides", "device", ("letterbox",), device=prepared(centred_padding)),
]  # fmt: skip

# --- the way back -----------------------------------------------------------------------------------------------------


def not_mapped(detections: Detections, placement: Placement) -> Detections:
    return detections


def spread_not_mapped(detections: Detections, placement: Placement) -> Detections:
    return changed(to_source(detections, placement), spread=detections.spread)


def sides_not_mapped(detections: Detections, placement: Placement) -> Detections:
    return changed(to_source(detections, placement), sides=detections.sides)


def spread_by_y(detections: Detections, placement: Placement) -> Detections:
    assert detections.spread is not None
    spread = detections.spread / np.float32(placement.scale_y)
    return changed(to_source(detections, placement), spread=spread)


def not_clipped(detections: Detections, placement: Placement) -> Detections:
    wide = replace(placement, source_hw=(10**6, 10**6))
    boxes = wide.boxes_to_source(detections.boxes + np.float32([0, 0, 9, 9]))
    right = to_source(detections, placement)
    height, width = placement.source_hw
    at_edge = right.boxes >= np.float32([width, height, width, height])
    return changed(right, boxes=np.where(at_edge, boxes, right.boxes).astype(np.float32))


def clipped_early(detections: Detections, placement: Placement) -> Detections:
    height, width = placement.source_hw
    right = to_source(detections, placement)
    return changed(right, boxes=np.minimum(right.boxes, np.float32([width, height, width, height]) - 1))


def scaled_spread(factor: float) -> Callable[[Detections, Frame], Detections]:
    def change(detections: Detections, frame: Frame) -> Detections:
        assert detections.spread is not None
        return changed(detections, spread=detections.spread * np.float32(factor))

    return change


WAY_BACK = [
    Corruption("device: boxes not mapped back", "device", DEFAULT, device=finished(not_mapped)),
    Corruption("device: spread not mapped back", "device", DEFAULT, device=finished(spread_not_mapped)),
    Corruption("device: spread mapped back by y alone", "device", DEFAULT, device=finished(spread_by_y)),
    Corruption("device: distributions not mapped back", "device", ("distributions",), device=finished(sides_not_mapped)),
    Corruption("device: x and y scale swapped", "device", ("detections", "raw"), device=prepared(turned_placement)),
    Corruption("device: scale .2 % off", "device", DEFAULT, device=prepared(scale_a_little_off)),
    Corruption("device: x scale for both", "device", ("detections", "raw"), device=prepared(one_scale)),
    Corruption("device: boxes not clipped", "device", ("detections", "raw"), device=finished(not_clipped)),
    Corruption("device: boxes clipped 1 px early", "device", ("detections", "raw"), device=finished(clipped_early)),
]  # fmt: skip

# --- what is delivered ------------------------------------------------------------------------------------------------


def _with_spread(change: Callable[[NDArray[np.float32]], Any]) -> Callable[[Detections, Frame], Detections]:
    def spoil(detections: Detections, frame: Frame) -> Detections:
        assert detections.spread is not None
        return changed(detections, spread=change(detections.spread))

    return spoil


def _with_boxes(change: Callable[[NDArray[np.float32]], Any]) -> Callable[[Detections, Frame], Detections]:
    return lambda detections, frame: changed(detections, boxes=change(detections.boxes).astype(np.float32))


def keeps_unused_rows(detections: Detections, placement: Placement) -> Detections:
    more = Detections(
        np.zeros((1, 4), np.float32),
        np.zeros(1, np.float32),
        np.full(1, -1, np.int64),
        None if detections.spread is None else np.zeros((1, 4), np.float32),
    )
    both = zip(*((d.boxes, d.scores, d.labels, d.spread) for d in (detections, more)), strict=True)
    boxes, scores, labels, spread = (None if b is None else np.concatenate((a, b)) for a, b in both)
    assert boxes is not None
    assert scores is not None
    assert labels is not None
    return to_source(Detections(boxes, scores, labels, spread), placement)


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


DELIVERED = [
    Corruption("device: labels + 1", "device", DEFAULT, device=found(lambda d, frame: changed(d, labels=(d.labels + 1) % 3))),
    Corruption("device: class names off by one", "device", DEFAULT, device=with_attributes(_off_by_one)),
    Corruption("device: another card", "device", ("detections",), device=with_attributes(_other_card)),
    Corruption("device: the last detection missing", "device", DEFAULT, device=found(lambda d, frame: d.take(np.arange(max(0, len(d) - 1))))),
    Corruption("device: the best detection missing", "device", DEFAULT, device=found(lambda d, frame: d.take(np.arange(1, len(d))))),
    Corruption("device: unused rows kept", "device", ("detections", "dynamic", "plain"), device=finished(keeps_unused_rows)),
    Corruption("device: worst first", "device", DEFAULT, device=found(lambda d, frame: d.take(np.arange(len(d))[::-1].copy()))),
    Corruption("device: only above .3", "device", DEFAULT, device=found(lambda d, frame: d.above(0.3))),
    Corruption("device: at most five", "device", DEFAULT, device=found(lambda d, frame: d.take(np.arange(min(5, len(d)))))),
    Corruption("device: scores with two digits", "device", DEFAULT, device=found(lambda d, frame: changed(d, scores=d.scores.round(2)))),
    Corruption("device: scores x .999", "device", DEFAULT, device=found(lambda d, frame: changed(d, scores=d.scores * np.float32(0.999)))),
    Corruption("device: boxes in whole pixels", "device", DEFAULT, device=found(_with_boxes(np.round))),
    Corruption("device: boxes + .2 px", "device", DEFAULT, device=found(_with_boxes(lambda boxes: boxes + np.float32(0.2)))),
    Corruption("device: boxes are x y w h", "device", DEFAULT, device=found(_with_boxes(lambda boxes: np.hstack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]))))),
    Corruption("device: the first box NaN", "device", DEFAULT, device=found(_with_boxes(lambda boxes: np.where(np.arange(len(boxes))[:, None] == 0, np.nan, boxes)))),
    Corruption("device: no spread", "device", DEFAULT, device=found(lambda d, frame: changed(d, spread=None))),
    Corruption("device: spread doubled", "device", DEFAULT, device=found(scaled_spread(2))),
    Corruption("device: spread zero", "device", DEFAULT, device=found(scaled_spread(0))),
    Corruption("device: spread NaN", "device", DEFAULT, device=found(scaled_spread(np.nan))),
    Corruption("device: spread's left and right swapped", "device", DEFAULT, device=found(_with_spread(lambda spread: spread[:, [2, 1, 0, 3]]))),
    Corruption("device: spread of the neighbouring rows", "device", DEFAULT, device=found(_with_spread(lambda spread: np.roll(spread, 1, axis=0)))),
    Corruption("device: no distributions", "device", ("distributions",), device=found(wrong_sides(lambda sides: None))),
    Corruption("device: distributions reversed", "device", ("distributions",), device=found(wrong_sides(lambda sides: replace(sides, probabilities=sides.probabilities[..., ::-1])))),
    Corruption("device: all steps positive", "device", ("distributions",), device=found(wrong_sides(lambda sides: replace(sides, step=np.abs(sides.step))))),
    Corruption("device: origins x y swapped", "device", ("distributions",), device=found(wrong_sides(lambda sides: replace(sides, origin=sides.origin[:, [1, 0, 3, 2]])))),
    Corruption("device: a frame's answer for the next of its size", "device", DEFAULT, device=lambda: nullcontext(FirstAnswerAgain)),
    Corruption("device: right in the first call only", "device", DEFAULT, device=lambda: nullcontext(RightOnce)),
    Corruption("device: fails when nothing is found", "device", DEFAULT, device=lambda: nullcontext(FailsOnNothing)),
    Corruption("device: draws on the caller's frame", "device", DEFAULT, device=found(draws_on_the_frame)),
    Corruption("device: selects above .06", "device", SELECTS, device=other_selection(score=0.06)),
    Corruption("device: suppresses at .5", "device", SELECTS, device=other_selection(iou=0.5)),
    Corruption("device: half of the candidates", "device", SELECTS, device=other_selection(candidates=SELECTION.candidates // 2)),
    Corruption("device: one row fewer", "device", SELECTS, device=other_selection(keep=SELECTION.keep - 1)),
    Corruption("device: one class a point", "device", SELECTS, device=patched("select", one_class_a_point)),
]  # fmt: skip

TABLE = [*WAY_IN, *WAY_BACK, *DELIVERED]
