"""The device side: an exported .onnx on onnxruntime, without torch."""

import nanogfl  # noqa: F401  its limit on the pixels of image files is set before OpenCV is loaded

TYPE_CHECKING = False  # what mypy takes for true; importing it from typing would cost what `cold` wants to measure
if TYPE_CHECKING:
    from nanogfl_deploy.runtime import Detector

__all__ = ["Detector"]


def __getattr__(name: str) -> object:
    """`from nanogfl_deploy import Detector` loads onnxruntime and OpenCV; importing the package alone loads nothing,
    so that `python -m nanogfl_deploy.bench.cold` can time that line."""
    if name == "Detector":
        from nanogfl_deploy.runtime import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
