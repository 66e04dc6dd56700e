"""The averaged weights: an exponential moving average of the detector, which is evaluated and exported."""

import copy

import torch
from torch import Tensor

from nanogfl.model.detector import Detector


class AveragedDetector:
    """Keeps `detector`, a copy in eval mode whose weights follow the trained one's."""

    def __init__(self, trained: Detector, decay: float) -> None:
        self.detector = copy.deepcopy(trained).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        # Looked up once: parameters and statistics keep their storage for the whole training.
        source, target = trained.state_dict(), self.detector.state_dict()
        changing = [name for name, value in target.items() if value.is_floating_point() and name not in ("mean", "std")]
        self._source: list[Tensor] = [source[name] for name in changing]
        self._target: list[Tensor] = [target[name] for name in changing]

    @torch.no_grad()
    def update(self) -> None:
        """Parameters and norms' statistics alike; in the first steps with a smaller decay, which forgets the start.

        The norms' counters of batches are left as they were: no norm of ours reads them.
        """
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9))
        torch._foreach_lerp_(self._target, self._source, 1 - decay)
