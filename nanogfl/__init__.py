"""A small object detector, trained with Generalized Focal Loss and exported to one verified .onnx.

    from nanogfl import Detector, evaluate, export, load, train

    run = train("bccd", overrides={"data.root": "datasets/bccd"})   # a run folder with best.pt
    exported = export(run.best)                                     # best.onnx, verified against PyTorch
    evaluate(exported.path, "val.json", "val").report.ap            # average precision
    detections = Detector(exported.path)(cv2.imread("photo.jpg"))   # boxes, scores, labels, spread

`Detector` needs no torch; `load` opens an .onnx or a checkpoint behind the same call. Nothing is printed unless
`verbose=True`. Every function raises `UserError` for what its caller can mend.
"""

import os

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "200000000")  # against decode bombs; see io/images.py

__version__ = "0.2.0"

TYPE_CHECKING = False  # as type checkers read it; importing it from typing would slow down every start
if TYPE_CHECKING:
    from nanogfl.api.evaluation import evaluate
    from nanogfl.api.exporting import export
    from nanogfl.api.labelling import label
    from nanogfl.api.model import load
    from nanogfl.api.training import train
    from nanogfl.api.weights import fetch_weights
    from nanogfl.contract.detections import Detections
    from nanogfl.errors import UserError
    from nanogfl.training.callbacks import Callback
    from nanogfl_deploy.runtime import Detector

__all__ = [
    "Callback",
    "Detections",
    "Detector",
    "UserError",
    "evaluate",
    "export",
    "fetch_weights",
    "label",
    "load",
    "train",
]

_HOME = {
    "Callback": "nanogfl.training.callbacks",
    "Detections": "nanogfl.contract.detections",
    "Detector": "nanogfl_deploy.runtime",
    "UserError": "nanogfl.errors",
    "evaluate": "nanogfl.api.evaluation",
    "export": "nanogfl.api.exporting",
    "fetch_weights": "nanogfl.api.weights",
    "label": "nanogfl.api.labelling",
    "load": "nanogfl.api.model",
    "train": "nanogfl.api.training",
}


def __getattr__(name: str) -> object:
    """Loads a public name when it is first used: importing nanogfl itself loads neither numpy nor torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
