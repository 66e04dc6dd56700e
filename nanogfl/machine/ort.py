"""onnxruntime without telemetry. All of our code imports it from here.

Since 1.29 it keeps a device id in the user's home and contacts Microsoft's servers, unless this variable is set before
it is loaded. A value that the user has set stays.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

__all__ = ["ORT_ERRORS", "onnxruntime"]

ORT_ERRORS = tuple(kind for kind in vars(ort_errors).values() if isinstance(kind, type) and issubclass(kind, Exception))
"""what it raises for a file that it cannot load or run; these have no common base class"""
