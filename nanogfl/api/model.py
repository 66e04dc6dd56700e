"""`load`: a model file of either kind behind one call."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detect, Detections
from nanogfl.errors import UserError, require

if TYPE_CHECKING:
    from nanogfl_deploy.runtime import Detector


@dataclass(frozen=True)
class Model:
    """A detector opened from a file. `model(frame)` detects: frame uint8 (h, w, 3) BGR, as cv2.imread gives it, ->
    `Detections` in the frame's pixels."""

    path: Path
    detect: Detect
    """what calling the model does"""
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    """the classes' ids in the annotations that it was trained on"""
    has_spread: bool
    """its detections have `spread`, the standard deviation of each side"""
    keep: int
    """the most detections per image"""
    keeping: Callable[[int], Detect] | None = None
    """`detect` with another limit; None for an .onnx, which fixes it"""
    explain: Detect | None = None
    """`detect` with each box's distributions. None for an .onnx without them; for a checkpoint without them it raises
    UserError."""
    validation: tuple[Path, Path] | None = None
    """annotations and image folder of the validation set; None for an .onnx"""
    training: tuple[Path, Path] | None = None
    """the same of the training set"""

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        return self.detect(frame)


def load(path: Path | str, *, device: str = "cpu", threads: int | None = None) -> Model:
    """Opens an .onnx (without torch) or a checkpoint, told apart by the suffix.

        detector = load("best.onnx")
        detections = detector(cv2.imread("photo.jpg")).above(0.4)
        for box, label in zip(detections.boxes, detections.labels):
            print(detector.class_names[label], box)  # x1 y1 x2 y2 in pixels

    Args:
        path: the file.
        device: auto, cpu, cuda, cuda:N or mps; only for a checkpoint.
        threads: onnxruntime's threads, by default one per core and at most 16; only for an .onnx.

    Raises UserError where the file cannot be opened, where an option does not apply to it, and where torch is missing.
    """
    from nanogfl.io.read_file import is_file
    from nanogfl.machine.threads import limit_opencv_threads

    path = Path(path)
    if not is_file(path):
        raise UserError(f"model {path} does not exist or is no file: check the path")
    limit_opencv_threads()
    if path.suffix == ".onnx":
        if device not in ("cpu", "auto"):
            raise UserError(f"--device {device} is for a checkpoint: an .onnx runs on the CPU, leave --device out")
        from nanogfl_deploy.runtime import Detector

        return of_detector(Detector(path, threads=threads))
    if threads is not None:
        raise UserError("--threads is for an .onnx: for a checkpoint set the environment's OMP_NUM_THREADS")
    return _of_checkpoint(path, device)


def open_model(model: "Path | str | Model | Detector", *, device: str = "cpu", threads: int | None = None) -> Model:
    """A model however a caller gave it; `device` and `threads` are for a path."""
    if isinstance(model, Path | str):
        return load(model, device=device, threads=threads)
    return model if isinstance(model, Model) else of_detector(model)


def of_detector(detector: "Detector") -> Model:
    card = detector.card
    return Model(
        path=detector.path,
        detect=detector,
        class_names=card.classes,
        category_ids=card.category_ids,
        has_spread=card.has_spread,
        keep=card.selection.keep,
        explain=detector if card.bins else None,
    )


def _of_checkpoint(path: Path, device: str) -> Model:
    require("train", "torch", "pydantic", "yaml")
    from nanogfl.model.checkpoint import load_checkpoint
    from nanogfl.model.predictor import Predictor
    from nanogfl.model.torch_threads import limit_torch_threads
    from nanogfl.training.device import choose_device

    limit_torch_threads()
    chosen = choose_device(device)
    checkpoint = load_checkpoint(path)
    model, data = checkpoint.config.model, checkpoint.config.data
    predictor = Predictor(checkpoint.build().to(chosen), model, checkpoint.classes)
    root = Path(data.root)
    return Model(
        path=path,
        detect=_finite(predictor, path),
        class_names=checkpoint.classes,
        category_ids=checkpoint.category_ids,
        has_spread=model.head.has_spread,
        keep=model.selection.keep,
        keeping=lambda most: _finite(predictor.keeping(most), path),
        explain=_finite(predictor.explain, path),
        validation=(root / data.val.annotations, root / data.val.images),
        training=(root / data.train.annotations, root / data.train.images),
    )


def _finite(detect: Detect, path: Path) -> Detect:
    """Damaged weights give nan, which nothing can draw or write. (An .onnx is checked by `Detector`.)"""

    def checked(frame: NDArray[np.uint8]) -> Detections:
        found = detect(frame)
        values = [found.boxes, found.scores] + ([] if found.spread is None else [found.spread])
        if not all(np.isfinite(value).all() for value in values):
            raise UserError(f"{path} gives detections that are not finite, so its weights are damaged: train it again")
        return found

    return checked


def require_there(part: Path, option: str) -> None:
    """Raises UserError where a file or folder named by a checkpoint is missing; `option` is the way to name another."""
    if not os.path.exists(part):
        raise UserError(
            f"the checkpoint's validation set {part} is not here: run from the folder of the training, or give {option}"
        )
