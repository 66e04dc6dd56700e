"""Parameters and multiply-accumulates, counted on the network itself."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nanogfl.model.detector import Detector


class Complexity(NamedTuple):
    parameters: int
    """learned ones: weights, biases, norms' scales and shifts"""
    macs: int
    """multiply-accumulates of the convolutions for one picture"""

    def __str__(self) -> str:
        return f"{self.parameters:,} parameters, {self.macs / 1e9:.3f} GMACs"


def count_complexity(detector: Detector) -> Complexity:
    """Runs one empty picture through the detector."""
    macs = 0

    def count(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        assert isinstance(module, nn.Conv2d)
        macs += output[0].numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in detector.modules() if isinstance(m, nn.Conv2d)]
    training = detector.training
    try:
        with torch.no_grad():
            detector.eval()(torch.zeros(1, *detector.hw, 3, dtype=torch.uint8, device=detector.mean.device))
    finally:
        detector.train(training)
        for hook in hooks:
            hook.remove()
    return Complexity(sum(p.numel() for p in detector.parameters()), macs)
