"""The device side: an exported .onnx on onnxruntime, without torch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanogfl_deploy.runtime import Detector

__all__ = ["Detector"]


def __getattr__(name: str) -> object:
    """`from nanogfl_deploy import Detector` loads onnxruntime and OpenCV; importing the package alone loads nothing,
    so that `python -m nanogfl_deploy.cold` can time that line."""
    if name == "Detector":
        from nanogfl_deploy.runtime import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
