"""What is sabotaged: a tiny checkpoint that finds much in drawn pictures and nothing in plain ones, and its pictures.

It is trained on those very pictures for some seconds: enough that scores, boxes and spread hang on what is drawn.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from nanogfl.config import BackboneConfig, Config, ModelConfig, NeckConfig
from nanogfl.contract.detections import Selection
from nanogfl.contract.input_spec import InputSpec, Placement, Resize
from nanogfl.contract.preprocess import preprocess
from nanogfl.data.synthetic.dataset import Drawing, draw_image
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.detector import Detector, build_detector
from tests.lively import enliven

Frames = list[tuple[str, NDArray[np.uint8]]]

CLASSES, CATEGORY_IDS = ("a", "b", "c"), (2, 5, 9)
# Small enough that the pictures reach both limits: the candidates' and the rows'.
SELECTION = Selection(candidates=40, keep=20)
PLAIN = (0, 64, 128, 192, 255)
STEPS = 60
SPEC = InputSpec((96, 160))  # H != W
INDICES = (1, 2, 3, 4, 8, 6)  # each with objects
SIZES = ((120, 200), (96, 160), (200, 90), (60, 170), (120, 200), (100, 260))


def subject_frames() -> Frames:
    """Name and picture, wide and high, two of one size; the last is dark."""
    pictures = [draw_image(5, index, hw).image for index, hw in zip(INDICES, SIZES, strict=True)]
    pictures[-1] = (pictures[-1] // 3).astype(np.uint8)
    return [(f"drawn {index}", picture) for index, picture in enumerate(pictures)]


def subject_checkpoints(folder: Path) -> dict[Resize, Path]:
    """The same weights with either resize."""
    torch.manual_seed(3)
    model = ModelConfig(SPEC, backbone=BackboneConfig("0.5x"), neck=NeckConfig("ghost_pan", 16), selection=SELECTION)
    detector = enliven(build_detector(model, len(CLASSES)))
    _overfit(detector)
    resizes: tuple[Resize, ...] = get_args(Resize)
    paths = {resize: folder / f"{resize}.pt" for resize in resizes}
    for resize, path in paths.items():
        config = Config(model=replace(model, input=replace(SPEC, resize=resize)))
        facts = {"epoch": 3, "ap": 0.25}
        save_checkpoint(path, Checkpoint(config, CLASSES, CATEGORY_IDS, detector.state_dict(), facts))
    return paths


def _overfit(detector: Detector) -> None:
    """To the pictures, in both resizes, and to plain ones in which nothing is. Then the class biases are lowered until
    no plain picture, padded or not, comes near to the limit."""
    drawings = [draw_image(5, index, hw) for index, hw in zip(INDICES, SIZES, strict=True)]
    frames = [frame for _, frame in subject_frames()]
    images, owned, distances = [], [], []
    for resize in ("stretch", "letterbox"):
        spec = replace(SPEC, resize=resize)
        for drawing, frame in zip(drawings, frames, strict=True):
            image, placement = preprocess(frame, spec)
            images.append(image)
            point_owner, point_sides = _targets(drawing, placement, detector)
            owned.append(point_owner)
            distances.append(point_sides)
    blanks = plain_inputs()
    images += blanks
    drawn = len(owned)
    owner = torch.cat((torch.stack(owned), torch.full((len(blanks), len(owned[0])), -1)))
    sides, some = torch.stack(distances), torch.stack(owned) >= 0
    target = torch.nn.functional.one_hot(owner.clamp(min=0), len(CLASSES)) * (owner >= 0)[..., None]
    weight = torch.tensor([1.0] * drawn + [2.0] * len(blanks))[:, None, None]
    pixels = torch.from_numpy(np.stack(images))

    detector.eval()  # batch norm as it is: what is trained is what is exported
    optimizer = torch.optim.Adam(detector.parameters(), lr=0.005)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    for _ in range(STEPS):
        found = detector(pixels)
        loss = 30 * binary_cross_entropy_with_logits(found.cls_logits, target.float(), weight=weight)
        loss = loss + cross_entropy(found.box_pred[:drawn][some].flatten(0, 1), sides[some].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
    with torch.no_grad():
        highest = detector(pixels[drawn:]).cls_logits.amax(dim=(0, 1)) - _logit(0.9 * SELECTION.score)
        for output in detector.head.outputs:
            output.bias[: len(CLASSES)] -= highest


def plain_inputs() -> list[NDArray[np.uint8]]:
    """As the network sees plain pictures of three shapes, two of which are padded."""
    spec = replace(SPEC, resize="letterbox")
    shapes = (SPEC.hw, (40, 160), (100, 120))
    return [preprocess(np.full((*hw, 3), grey, np.uint8), spec)[0] for hw in shapes for grey in PLAIN]


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _targets(drawing: Drawing, placement: Placement, detector: Detector) -> tuple[Tensor, Tensor]:
    """For each point the class of the smallest object around it, -1 where none is, and the bins of its four sides."""
    points, strides = detector.grid.points, detector.grid.strides[:, None]
    owned = torch.full((len(points),), -1)
    distances = torch.zeros(len(points), 4, dtype=torch.long)
    for shape in sorted(drawing.objects, key=lambda o: (o.box[0] - o.box[2]) * (o.box[3] - o.box[1])):
        box = torch.from_numpy(placement.boxes_to_input(np.array(shape.box, np.float32)))
        sides = torch.cat((points - box[:2], box[2:] - points), dim=1) / strides
        inside = (sides > 0).all(dim=1) & (sides < detector.grid.head.reg_max).all(dim=1)
        owned[inside] = shape.label % len(CLASSES)
        distances[inside] = sides.round().long()[inside].clamp(min=1)  # no box thinner than two strides
    return owned, distances
