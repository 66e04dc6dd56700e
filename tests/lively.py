"""Detectors that nobody has trained and that still find something: for tests of what is behind the network."""

import numpy as np
import torch

from nanogfl.data.synthetic.dataset import draw_image
from nanogfl.model.detector import Detector


def enliven(detector: Detector) -> Detector:
    """Random outputs that depend on the picture, with scores on both sides of the limit; batch norms that fit them."""
    torch.manual_seed(7)
    frames = torch.from_numpy(np.stack([draw_image(5, index, detector.hw).image for index in range(8)]))
    detector.train()
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5
    with torch.no_grad():
        for _ in range(12):
            detector(frames)
        for name, parameter in detector.head.named_parameters():
            if "output" in name or "dgqp" in name:
                parameter.normal_(std=0.7 * parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1)
        if detector.grid.anchors is not None:  # e to the power of these would be boxes of no size
            detector.head.box_output.weight *= 0.2
        rows = detector.head.layout.class_rows
        heads = detector.head.outputs if hasattr(detector.head, "outputs") else [detector.head.class_output]
        for output in heads:
            output.bias[:rows] = -2.0
    return detector.eval()


def random_norms(module: torch.nn.Module) -> None:
    """Batch norms with random statistics, scales and shifts, so that none of them is the identity."""
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            for tensor in (norm.running_var, norm.weight.data):
                tensor.uniform_(0.5, 1.5)
            for tensor in (norm.running_mean, norm.bias.data):
                tensor.normal_(std=0.2)
