"""Wrong device code between a frame and the network: the way in, and the way back."""

from dataclasses import replace

import cv2
import numpy as np

from nanogfl.contract.detections import Detections, to_source
from nanogfl.contract.input_spec import InputSpec, Placement
from nanogfl.contract.preprocess import preprocess
from tests.export.sabotage.attempt import of_device
from tests.export.sabotage.devices import DEFAULT, Frame, changed, finished, prepared


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


WAY_IN = [
    *of_device(
        DEFAULT,
        {
            "device: RGB": prepared(rgb),
            "device: area resize": prepared(area_resize),
            "device: nearest resize": prepared(nearest_resize),
            "device: cubic resize": prepared(cubic_resize),
            "device: mirrored picture": prepared(mirrored),
        },
    ),
    *of_device(("detections", "raw"), {"device: letterbox instead of stretch": prepared(letterboxed)}),
    *of_device(
        ("letterbox",),
        {
            "device: stretch instead of letterbox": prepared(stretched),
            "device: padding in RGB order": prepared(rgb_padding),
            "device: black padding": prepared(black_padding),
            "device: padding on both sides": prepared(centred_padding),
        },
    ),
]


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


WAY_BACK = [
    *of_device(
        DEFAULT,
        {
            "device: boxes not mapped back": finished(not_mapped),
            "device: spread not mapped back": finished(spread_not_mapped),
            "device: spread mapped back by y alone": finished(spread_by_y),
            "device: scale .2 % off": prepared(scale_a_little_off),
        },
    ),
    *of_device(("distributions",), {"device: distributions not mapped back": finished(sides_not_mapped)}),
    *of_device(
        ("detections", "raw"),
        {
            "device: x and y scale swapped": prepared(turned_placement),
            "device: x scale for both": prepared(one_scale),
            "device: boxes not clipped": finished(not_clipped),
            "device: boxes clipped 1 px early": finished(clipped_early),
        },
    ),
]

TABLE = [*WAY_IN, *WAY_BACK]
