"""The averaged weights: an exponential moving average of the detector, which is evaluated and exported."""

import copy

import torch

from nanogfl.model.detector import Detector


class AveragedDetector:
    """Keeps `detector`, a copy in eval mode whose weights follow the trained one's."""

    def __init__(self, trained: Detector, decay: float) -> None:
        self.detector = copy.deepcopy(trained).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, trained: Detector) -> None:
        """Parameters and norms' statistics alike; in the first steps with a smaller decay, which forgets the start."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9))
        source, target = trained.state_dict(), self.detector.state_dict()
        averaged = [name for name, value in target.items() if value.is_floating_point()]
        torch._foreach_lerp_([target[n] for n in averaged], [source[n] for n in averaged], 1 - decay)
        for name in target.keys() - set(averaged):
            target[name].copy_(source[name])
