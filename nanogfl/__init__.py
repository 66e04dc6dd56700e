"""A small object detector, trained with Generalized Focal Loss and exported to one verified .onnx."""

import os

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "200000000")  # against decode bombs; see io/images.py

__version__ = "0.1.0"
