"""A small object detector, trained with Generalized Focal Loss and exported to one verified .onnx."""

__version__ = "0.1.0"
