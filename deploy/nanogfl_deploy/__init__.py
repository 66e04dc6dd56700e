"""The device side: an exported .onnx on onnxruntime, without torch."""

from nanogfl_deploy.runtime import Detector

__all__ = ["Detector"]
