"""Opens a checkpoint or an .onnx for the commands that detect."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detect, Detections
from nanogfl.errors import UserError


@dataclass(frozen=True)
class OpenedModel:
    """A model file, whichever kind it is."""

    detect: Detect
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    validation: tuple[Path, Path] | None
    """annotations and image folder of the validation set; None for an .onnx"""
    training: tuple[Path, Path] | None
    """those of the training set"""
    has_spread: bool
    """detections have a standard deviation per side"""
    keep: int
    """at most this many detections per image"""
    keeping: Callable[[int], Detect] | None
    """`detect` with at least this many detections per image; None for an .onnx, whose number is fixed"""
    explain: Detect | None
    """`detect` with the distributions of each box; None for an .onnx without them; a checkpoint without them raises
    UserError"""


def open_model(path: Path, *, device: str = "cpu", threads: int | None = None) -> OpenedModel:
    """Opens an .onnx by its suffix, anything else as a checkpoint.

    `device` (auto, cpu, cuda, cuda:N, mps) is for a checkpoint, `threads` for an .onnx. Raises UserError where one of
    them would have no effect, and for a file that cannot be opened.
    """
    from nanogfl.machine.threads import limit_opencv_threads

    limit_opencv_threads()
    if path.suffix == ".onnx":
        if device not in ("cpu", "auto"):
            raise UserError(f"--device {device} is for a checkpoint: an .onnx runs on the CPU, leave --device out")
        from nanogfl_deploy.runtime import Detector

        detector = Detector(path, threads=threads)
        card = detector.card
        explain = detector if card.bins else None
        keep = card.selection.keep
        return OpenedModel(detector, card.classes, card.category_ids, None, None, card.has_spread, keep, None, explain)

    if threads is not None:
        raise UserError("--threads is for an .onnx: for a checkpoint set the environment's OMP_NUM_THREADS")
    from nanogfl.cli.extras import require

    require("train", "torch", "pydantic", "yaml")
    from nanogfl.model.checkpoint import load_checkpoint
    from nanogfl.model.predictor import Predictor
    from nanogfl.model.torch_threads import limit_torch_threads
    from nanogfl.train.device import choose_device

    limit_torch_threads()
    chosen = choose_device(device)
    checkpoint = load_checkpoint(path)
    data = checkpoint.config.data
    root = Path(data.root)
    predictor = Predictor(checkpoint.build().to(chosen), checkpoint.config.model, checkpoint.classes)
    validation = (root / data.val.annotations, root / data.val.images)
    training = (root / data.train.annotations, root / data.train.images)
    classes, ids = checkpoint.classes, checkpoint.category_ids
    model = checkpoint.config.model
    keep, spread = model.selection.keep, model.head.has_spread

    def keeping(most: int) -> Detect:
        return _finite(predictor.keeping(most), path)

    return OpenedModel(
        _finite(predictor, path),
        classes,
        ids,
        validation,
        training,
        spread,
        keep,
        keeping,
        _finite(predictor.explain, path),
    )


def _finite(detect: Detect, path: Path) -> Detect:
    """`detect`, which raises UserError for detections that are not finite, as of damaged weights."""

    def checked(frame: NDArray[np.uint8]) -> Detections:
        found = detect(frame)
        values = [found.boxes, found.scores] + ([] if found.spread is None else [found.spread])
        if not all(np.isfinite(value).all() for value in values):
            raise UserError(f"{path} gives detections that are not finite, so its weights are damaged: train it again")
        return found

    return checked


def require_there(part: Path, option: str) -> None:
    """Raises UserError where a file or folder that a checkpoint names does not exist; `option` names another one."""
    if not os.path.exists(part):
        raise UserError(
            f"the checkpoint's validation set {part} is not here: run from the folder of the training, or give {option}"
        )
