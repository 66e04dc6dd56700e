"""onnxruntime with its telemetry off. Everything of ours imports it from here.

Since 1.29 it would keep a device id in the user's home and look up its maker's servers. It reads the variable when it
is loaded. A value that the user has set stays.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

__all__ = ["ORT_ERRORS", "onnxruntime"]

ORT_ERRORS = tuple(kind for kind in vars(ort_errors).values() if isinstance(kind, type) and issubclass(kind, Exception))
"""what it raises for a file that it cannot load or run; they have no base class of their own"""
