"""Detection with PyTorch, by the same call as on the device: frame -> detections."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nanogfl.config import ModelConfig
from nanogfl.contract.detections import Detections, Sides, select, sides_at, to_source
from nanogfl.contract.preprocess import preprocess
from nanogfl.errors import UserError
from nanogfl.model.boxes.decode import bin_probabilities, decode_boxes, decode_scores, decode_spread
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.detector import Detector


class RawOutputs(NamedTuple):
    """Decoded output for all N points of an image, in network-input pixels; a `raw` .onnx delivers the same."""

    boxes: NDArray[np.float32]
    """(N, 4) x1 y1 x2 y2, not clamped"""
    scores: NDArray[np.float32]
    """(N, C)"""
    spread: NDArray[np.float32] | None
    """(N, 4) standard deviations of left top right bottom; None where head.box has none"""


class Predictor:
    """Detects with a detector in fp32, wherever it is; calling it leaves the training mode as it was."""

    def __init__(self, detector: Detector, config: ModelConfig, class_names: tuple[str, ...]) -> None:
        self.detector, self.config, self.class_names = detector, config, class_names

    def keeping(self, most: int) -> "Predictor":
        """A predictor that keeps at least `most` detections per image: LVIS evaluates more than COCO."""
        selection = self.config.selection
        most = max(most, selection.keep)
        wider = replace(selection, keep=most, candidates=max(most, selection.candidates))
        return Predictor(self.detector, replace(self.config, selection=wider), self.class_names)

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """Frame uint8 (h, w, 3) BGR -> D detections in the frame's pixels, best first."""
        image, placement = preprocess(frame, self.config.input)
        return to_source(self.select(self.raw(image)), placement)

    def explain(self, frame: NDArray[np.uint8]) -> Detections:
        """Frame uint8 (h, w, 3) BGR -> D detections with `sides`, the distributions that each box was decoded from.

        Raises UserError where head.box has no distributions.
        """
        if not self.config.head.bins:
            raise UserError(
                f"the model's boxes have no distributions (model.head.box {self.config.head.box}): expected one"
                " trained with general+dfl"
            )
        image, placement = preprocess(frame, self.config.input)
        return to_source(self.select(*self.raw_and_sides(image)), placement)

    def raw_and_sides(self, image: NDArray[np.uint8]) -> tuple[RawOutputs, Sides]:
        """Network input uint8 (H, W, 3) -> outputs and distributions of the N points, for a head with distributions."""
        (raw,), (sides,) = self._decode(image[None], with_sides=True)
        return raw, sides

    def raw(self, image: NDArray[np.uint8]) -> RawOutputs:
        """Network input uint8 (H, W, 3) -> outputs of the N points."""
        return self.raw_batch(image[None])[0]

    def raw_batch(self, images: NDArray[np.uint8]) -> list[RawOutputs]:
        """Network inputs uint8 (B, H, W, 3) -> outputs of the N points for each of the B images."""
        return self._decode(images, with_sides=False)[0]

    def select(self, raw: RawOutputs, sides: Sides | None = None) -> Detections:
        """Outputs, and the `sides` if any, of N points -> D detections in network-input pixels."""
        return select(raw.boxes, raw.scores, raw.spread, self.config.selection, self.config.input.hw, sides)

    def _decode(self, images: NDArray[np.uint8], with_sides: bool) -> tuple[list[RawOutputs], list[Sides]]:
        """One entry per image in each list; no sides where none were asked for."""
        training, grid = self.detector.training, self.detector.grid
        self.detector.eval()
        with torch.inference_mode():
            found = self.detector(torch.from_numpy(images).to(self.detector.mean.device))
            boxes = decode_boxes(found.box_pred, grid).cpu().numpy()
            deviation = decode_spread(found.box_pred, grid)
            spread = [None] * len(images) if deviation is None else deviation.cpu().numpy()
            scores = decode_scores(found.cls_logits, found.quality_logits).cpu().numpy()
            sides = []
            if with_sides:
                steps = grid.strides * grid.head.bin_width
                points = torch.cat((grid.points, steps[:, None]), dim=1).cpu().numpy()
                sides = [sides_at(image.cpu().numpy(), points) for image in bin_probabilities(found.box_pred)]
        self.detector.train(training)
        return [RawOutputs(*of_picture) for of_picture in zip(boxes, scores, spread, strict=True)], sides


def load_predictor(path: Path | str, device: str = "cpu") -> Predictor:
    """A predictor with the averaged weights of a checkpoint. Raises UserError as `load_checkpoint`."""
    checkpoint = load_checkpoint(path)
    return Predictor(checkpoint.build().to(device), checkpoint.config.model, checkpoint.classes)
