"""The optimizer, its schedule, and the averaged weights."""

import copy
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nanogfl.config import TrainConfig
from nanogfl.model.detector import Detector
from nanogfl.training.checkpointing.training_state import cannot_resume, require_tensors

STEP_FACTOR = 0.1  # of the learning rate at every milestone
WARMUP_PART = 5  # the warm-up takes at most a fifth of all updates: otherwise a short run would end before its peak
FLAT_UNTIL = 0.5  # share of all updates that flat_cosine holds the learning rate for (RTMDet, arXiv:2212.07784)


def build_optimizer(modules: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Decays matrices and kernels only: norms and biases have one dimension. Frozen parameters are left out."""
    trained = [p for p in modules.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    free = [p for p in trained if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    # Both are fused: these kernels can be told to change nothing after a step that was not finite (TrainStep.update).
    match config.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=config.lr, fused=True)
        case "sgd":
            sgd = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
            # If the first step is skipped, which is usual in fp16, torch's buffers would hold uninitialised memory.
            # Adding the gradient to zeros is how torch starts otherwise.
            for parameter in trained if config.momentum else ():
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd


def load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any], path: Path) -> None:
    """Loads the moments of a state dict from the file `path`. Rates, decay and momentum stay those of the config.

    Raises UserError where the moments are not those of the optimizer's parameters.
    """
    names = ("exp_avg", "exp_avg_sq", "step") if isinstance(optimizer, torch.optim.AdamW) else ("momentum_buffer",)
    moments = saved.get("state")
    if not isinstance(moments, dict) or not all(isinstance(of_one, dict) for of_one in moments.values()):
        raise cannot_resume(path, "optimizer: no moments by parameter")
    if names == ("momentum_buffer",) and not (moments and optimizer.param_groups[0]["momentum"]):
        return  # saved without momentum: it starts from zeros
    scalar = torch.zeros(())
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    expected: dict[str, Tensor] = {
        f"{number}.{name}": scalar if name == "step" else parameter
        for number, parameter in enumerate(parameters)
        for name in names
    }
    found = {f"{number}.{name}": value for number, of_one in moments.items() for name, value in of_one.items()}
    require_tensors(path, "optimizer", found, expected)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def warmup_updates(total_updates: int, config: TrainConfig) -> int:
    return min(config.warmup_steps, total_updates // WARMUP_PART)


def learning_rate(update: int, total_updates: int, config: TrainConfig) -> float:
    """The rate of update number `update`, from 0: a linear warm-up, then a cosine to final_lr * lr.

    flat_cosine holds the peak up to half of all updates. step takes a tenth from every milestone (an epoch) on. With
    train.pace the positions are those of `TrainConfig.walked`.
    """
    position, total_updates = (
        config.walked(update, total_updates // config.epochs) if config.pace else (update, total_updates)
    )
    warmup = warmup_updates(total_updates, config)
    if position < warmup:
        return config.lr * max(0.001, position / warmup)
    start = float(warmup)
    match config.schedule:
        case "cosine":
            pass
        case "flat_cosine":
            start = FLAT_UNTIL * total_updates  # long after the warm-up
        case "step":
            passed = sum(position * config.epochs >= milestone * total_updates for milestone in config.milestones)
            return config.lr * STEP_FACTOR**passed
    progress = min(1.0, max(0.0, (position - start) / max(1.0, total_updates - start)))
    return config.lr * (config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * progress)))


class AveragedDetector:
    """An exponential moving average of a detector: what is evaluated and exported.

    `detector` is a copy of `trained` in eval mode, whose weights and norms' statistics follow the trained ones.
    """

    def __init__(self, trained: Detector, decay: float) -> None:
        self.detector = copy.deepcopy(trained).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        # Looked up once: parameters and statistics keep their storage during a training.
        source, target = trained.state_dict(), self.detector.state_dict()
        changing = [name for name, value in target.items() if value.is_floating_point() and name not in ("mean", "std")]
        self._source: list[Tensor] = [source[name] for name in changing]
        self._target: list[Tensor] = [target[name] for name in changing]

    @torch.no_grad()
    def update(self) -> None:
        """One step towards the trained weights. The decay grows with the updates, so that the start is forgotten.

        The norms' counters of batches stay as they are: no norm here reads them.
        """
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9))
        torch._foreach_lerp_(self._target, self._source, 1 - decay)
