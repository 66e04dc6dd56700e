"""By how much a file may differ from PyTorch: docs/onnx.md states these, the gate refuses what exceeds them."""

BOX_TOLERANCE = 0.05
"""pixels of the network input: boxes, spread, and the positions of a distribution's bins"""
SCORE_TOLERANCE = 1e-4
"""scores, and the probabilities of a distribution"""
TIE_SHARE = 0.02
"""share of the detections that may differ because rounding decides them; TIE_LEAST rows always may"""
TIE_LEAST = 4
